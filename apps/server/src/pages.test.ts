import { gzipSync } from 'node:zlib';
import { files } from '@s3t/dashboard';
import { describe, expect, it } from 'vitest';
import { createApp } from './app.ts';
import { StandIn } from './testing/stand-in.ts';

const app = createApp(new StandIn());

describe('the pages', () => {
  it.each(Object.keys(files))('%s is served under a policy it satisfies', async (path) => {
    const response = await app.request(path);
    expect(response.status).toBe(200);
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    const body = await response.text();
    // Nothing inline, nothing from elsewhere. That nothing makes HTML of strings is up to the policy's trusted types.
    expect(body).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|eval\(/);
    // Names of namespaces and formats are no places to load from.
    expect(
      body.replace(/http:\/\/www\.w3\.org\/[\w/]+|https:\/\/in-toto\.io\/\S+?(?=[`'"])/g, ''),
    ).not.toMatch(/https?:\/\//);
  });

  it('load only what is there', async () => {
    for (const [path, { body }] of Object.entries(files)) {
      const links = [
        ...body.matchAll(/(?:src|href)="(\/[^"#]*)"/g),
        ...body.matchAll(/(?:from|import\()\s*[`'"]\.(\/[^`'"]+)[`'"]/g),
      ];
      for (const [, link] of links) {
        const target = path.endsWith('.js') ? `/assets${link}` : link!;
        expect((await app.request(target)).status, `${path} -> ${target}`).toBe(200);
      }
    }
  });

  it('are small: the dashboard has 60 KB, 26 of them before the first paint', () => {
    const sizeOf = (paths: string[]): number =>
      paths.reduce((sum, path) => sum + gzipSync(files[path]!.body).length, 0);
    const dashboard = Object.keys(files).filter((path) => !/\/docs(\.|$)/.test(path));
    expect(sizeOf(dashboard)).toBeLessThanOrEqual(60_000);
    const first = [...files['/']!.body.matchAll(/(?:src|href)="(\/assets[^"]+)"/g)].map(([, path]) => path!);
    expect(first.length).toBeGreaterThan(3);
    expect(sizeOf(['/', ...first])).toBeLessThanOrEqual(26_000);
  });
});
