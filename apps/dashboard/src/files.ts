import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Something the server answers a GET with. */
export interface PageFile {
  /** Its content type. */
  type: string;
  body: string;
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/**
 * The dashboard: URL path to file. `/` and `/docs` are pages; what they load is below `/assets/`.
 * In a checkout the page is built when its sources are newer; `npm run build` replaces this module by one that holds the texts.
 */
export const files: Readonly<Record<string, PageFile>> = readFiles(builtPage());

function builtPage(): string {
  const root = new URL('../', import.meta.url);
  const built = new URL('dist/page/index.html', root);
  const changed = Math.max(...['page/', 'vite.config.ts'].map((name) => newest(new URL(name, root))));
  if (!existsSync(built) || statSync(built).mtimeMs < changed) {
    // Deno and Bun serve the page, too, but it is Node that builds it.
    const isNode = !('Deno' in globalThis) && !('Bun' in globalThis);
    execFileSync(
      isNode ? process.execPath : 'node',
      [fileURLToPath(new URL('scripts/build-page.mjs', root))],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    );
  }
  return fileURLToPath(new URL('./', built));
}

function newest(place: URL): number {
  const { mtimeMs } = statSync(place);
  if (!place.href.endsWith('/')) return mtimeMs;
  const inside = readdirSync(place, { recursive: true, encoding: 'utf8' });
  return Math.max(mtimeMs, ...inside.map((name) => statSync(new URL(name, place)).mtimeMs));
}

function readFiles(folder: string): Record<string, PageFile> {
  const found: Record<string, PageFile> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const type = types[name.slice(name.lastIndexOf('.') + 1)];
    if (type === undefined) continue;
    found[pathOf(name.replaceAll('\\', '/'))] = { type, body: readFileSync(`${folder}${name}`, 'utf8') };
  }
  return found;
}

function pathOf(name: string): string {
  if (name === 'index.html') return '/';
  return name.endsWith('.html') ? `/${name.slice(0, -'.html'.length)}` : `/${name}`;
}
