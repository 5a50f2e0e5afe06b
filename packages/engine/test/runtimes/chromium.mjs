// The packed engine in Chromium, headless: the page loads it from a folder, with an import map in place of a bundler.
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';
import { findChromium } from '../../../../scripts/lib/chromium.mjs';
import { root } from '../pack.mjs';
import { report, skip } from './report.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript' };
/** Without a GPU Chromium falls on SwiftShader. It runs as root in a container, where its sandbox cannot start. */
const FLAGS = ['--enable-unsafe-webgpu', '--no-sandbox', '--disable-gpu-sandbox'];

const found = await findChromium(root);
if ('help' in found) skip(`no Chromium on this machine: ${found.help}`);
const browser = await chromium.launch({
  executablePath: found.path,
  env: { ...process.env, ...found.env },
  args: FLAGS,
});
try {
  await report(`Chromium ${browser.version()}`, { dawn: false }, async (folder) => {
    const server = await serve(folder);
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`http://localhost:${server.address().port}/`);
      return await page.evaluate(async () => {
        const { conformance } = await import('/testing/conformance.js');
        return conformance();
      });
    } finally {
      server.close();
    }
  });
} finally {
  await browser.close();
}

/** Serves the folder and, as `/`, a page that finds the packages in it by their names. */
function serve(folder) {
  const imports = Object.fromEntries(
    ['kernels', 'engine'].map((name) => {
      const place = `/node_modules/@s3t/${name}`;
      const { exports } = JSON.parse(readFileSync(join(folder, place, 'package.json'), 'utf8'));
      return [`@s3t/${name}`, join(place, exports['.'].default)];
    }),
  );
  const html = `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script>`;
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, 'http://localhost').pathname);
    if (path === '/') return response.setHeader('content-type', TYPES['.html']).end(html);
    const file = join(folder, path);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    return createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
