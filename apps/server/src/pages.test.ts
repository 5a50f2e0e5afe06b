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
    // Nothing inline, nothing from elsewhere, no HTML from strings.
    expect(body).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|innerHTML|eval\(/);
    expect(body.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\//);
  });

  it('load only what is there', async () => {
    for (const [path, { body }] of Object.entries(files)) {
      const links = [...body.matchAll(/(?:src|href)="(\/[^"#]*)"/g), ...body.matchAll(/from '\.(\/[^']+)'/g)];
      for (const [, link] of links) {
        const target = path.endsWith('.js') ? `/assets${link}` : link!;
        expect((await app.request(target)).status, `${path} -> ${target}`).toBe(200);
      }
    }
  });
});
