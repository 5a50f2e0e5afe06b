// Against a small hub on loopback: the four requests that a download makes, with ranges, tokens and failures.

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ModelError } from '../errors.ts';
import { parseHubId } from './hub-id.ts';
import { type DownloadProgress, resolveBase, resolveDataset } from './resolve-base.ts';

const COMMIT = 'a'.repeat(40);
const WEIGHTS = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 5));
const FILES: Record<string, Buffer> = {
  'config.json': Buffer.from('{"model_type":"vit"}'),
  'preprocessor_config.json': Buffer.from('{}'),
  'generation_config.json': Buffer.from('{}'),
  'chat_template.jinja': Buffer.from('{{ messages }}'),
  'model.safetensors': WEIGHTS,
  'model.safetensors.index.json': Buffer.from('{}'),
  'README.md': Buffer.from('#'),
  'pytorch_model.bin': Buffer.from('no'),
};

const DATA: Record<string, Buffer> = {
  'cola/train-00000-of-00001.parquet': WEIGHTS.subarray(0, 1000),
  'cola/validation-00000-of-00001.parquet': WEIGHTS.subarray(0, 100),
  'sst2/train-00000-of-00001.parquet': WEIGHTS,
  'README.md': Buffer.from('#'),
};

let server: Server;
let HF_ENDPOINT: string;
let cacheDir: string;
/** What the hub was asked for, and how it misbehaves. */
let asked: string[];
let served: Record<string, Buffer>;
let listed: Record<string, Buffer>;
let cutAfter: number | null;
let isIgnoringRanges: boolean;
let isBusy: boolean;
/** Where the hub sends readers of files, and the tokens that it shows to whoever is there. */
let elsewhere: string | null;
let shown: (string | undefined)[];
const contents: Server = createServer((request, response) => {
  shown.push(request.headers.authorization);
  const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
  const content = served[request.url!.slice(1)]!;
  const [from, to] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, content.length];
  response.writeHead(range ? 206 : 200, {
    etag: '"x"',
    'x-cache': 'Hit from cloudfront',
    'content-range': `bytes ${from}-${to - 1}/${content.length}`,
  });
  response.end(content.subarray(from, to));
});

beforeAll(async () => {
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, 'http://hub');
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '');
    asked.push(`${pathname.split('/').slice(-1)} ${range ? `${range[1]}-${range[2]}` : 'all'}`);
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (pathname.includes('/secret/') && request.headers.authorization !== 'Bearer hf_open')
      return answer(401, { error: 'Invalid\ncredentials' });
    if (pathname.includes('/broken/')) return answer(500, { error: 'no' });
    const model = /^\/api\/(?:models|datasets)\/\w+\/model\/(revision|tree)\/([^/]+)$/.exec(pathname);
    if (model && (model[2] === 'main' || model[2] === COMMIT)) {
      if (model[1] === 'revision') return answer(200, { _id: '1', id: 'org/model', sha: COMMIT });
      const files = pathname.startsWith('/api/datasets/') ? listed : FILES;
      const entries = Object.entries(files).map(([path, content]) => {
        const hash = (name: string, before = '') =>
          createHash(name).update(before).update(content).digest('hex');
        const entry = {
          type: 'file',
          path,
          size: content.length,
          oid: hash('sha1', `blob ${content.length}\0`),
        };
        return path.endsWith('.safetensors')
          ? { ...entry, lfs: { oid: hash('sha256'), size: content.length, pointerSize: 130 } }
          : entry;
      });
      return answer(200, entries);
    }
    const file = /^(?:\/datasets)?\/\w+\/model\/resolve\/a{40}\/(.+)$/.exec(pathname)?.[1];
    const content = file && served[file];
    if (!content) return answer(404, { error: 'Repository not found' });
    if (elsewhere) return response.writeHead(302, { location: `${elsewhere}/${file}` }).end();
    if (isBusy && range?.[2] !== '0') return answer(503, { error: 'later\nperhaps' });
    if (content.length === 0 && range) return answer(416, { error: 'no such range' });
    // The first byte is asked for to learn the size, which comes right even from a hub that ignores other ranges.
    const isRange = range !== null && (range[2] === '0' || !isIgnoringRanges);
    const [from, to] = isRange ? [Number(range[1]), Number(range[2]) + 1] : [0, content.length];
    response.writeHead(isRange ? 206 : 200, {
      etag: `"${file}"`,
      'content-length': to - from,
      ...(isRange ? { 'content-range': `bytes ${from}-${to - 1}/${content.length}` } : {}),
    });
    if (cutAfter === null || to - from <= cutAfter) return response.end(content.subarray(from, to));
    response.write(content.subarray(from, from + cutAfter), () => response.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  await new Promise<void>((listening) => contents.listen(0, '127.0.0.1', listening));
  HF_ENDPOINT = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  for (const each of [server, contents]) {
    each.closeAllConnections();
    each.close();
  }
});

beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), 's3t-hub-'));
  asked = [];
  served = { ...FILES, ...DATA };
  listed = DATA;
  isBusy = false;
  elsewhere = null;
  shown = [];
  cutAfter = null;
  isIgnoringRanges = false;
  return () => rm(cacheDir, { recursive: true });
});

const find = (
  base: string,
  env: Record<string, string> = {},
  onProgress?: (progress: DownloadProgress) => void,
) => resolveBase(base, { cacheDir, env: { HF_ENDPOINT, ...env }, onProgress });

async function fails(promise: Promise<unknown>, message: string | RegExp) {
  await expect(promise).rejects.toThrow(ModelError);
  await expect(promise).rejects.toThrow(message);
  await expect(promise).rejects.toThrow(/^.+$/);
}

describe('resolveDataset', () => {
  it('downloads one folder of a data set, once', async () => {
    const options = { cacheDir, env: { HF_ENDPOINT } };
    const folder = await resolveDataset('org/model', 'cola', options);
    expect(folder).toBe(join(cacheDir, 'datasets', 'org--model', 'cola', COMMIT));
    for (const name of ['cola/train-00000-of-00001.parquet', 'cola/validation-00000-of-00001.parquet'])
      expect(await readFile(join(folder, name))).toEqual(DATA[name]);
    expect(await readdir(folder)).toEqual(['cola']);
    asked = [];
    const offline = { cacheDir, env: { HF_ENDPOINT, HF_HUB_OFFLINE: '1' } };
    expect(await resolveDataset('org/model', 'cola', offline)).toBe(folder);
    expect(asked).toEqual([]);
    await fails(resolveDataset('org/model', 'rte', options), 'org/model: the data set has no folder rte');
    expect(await resolveDataset('./data', 'cola', { folder: '/x', ...options })).toBe('/x/data');
  });

  it('takes empty files, for which a hub has no range', async () => {
    listed = { 'cola/empty.jsonl': Buffer.alloc(0), 'cola/a.jsonl': Buffer.from('{}') };
    served = listed;
    const folder = await resolveDataset('org/model', 'cola', { cacheDir, env: { HF_ENDPOINT } });
    expect((await readFile(join(folder, 'cola', 'empty.jsonl'))).length).toBe(0);
    expect((await readFile(join(folder, 'cola', 'a.jsonl'))).toString()).toBe('{}');
  });

  it.each(['cola/../../../../escaped', 'cola//escaped', 'cola/./escaped', 'cola/..\\escaped'])(
    'takes no file that the hub says lies at %s',
    async (path) => {
      listed = { [path]: Buffer.from('x') };
      served = { [path]: Buffer.from('x'), escaped: Buffer.from('x') };
      await fails(
        resolveDataset('org/model', 'cola', { cacheDir, env: { HF_ENDPOINT } }),
        `org/model: the hub lists a file ${path}, which is no path within a folder`,
      );
    },
  );
});

describe('resolveBase', () => {
  it('downloads what a base needs, once', async () => {
    const progress: DownloadProgress[] = [];
    const folder = await find('org/model', {}, (event) => progress.push(event));
    expect(folder).toBe(join(cacheDir, 'org--model', COMMIT));
    expect((await readdir(folder)).sort()).toEqual([
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'preprocessor_config.json',
    ]);
    for (const name of await readdir(folder)) expect(await readFile(join(folder, name))).toEqual(FILES[name]);
    const total = progress[0]!.total;
    expect(progress.at(-1)).toEqual({ file: 'model.safetensors', bytes: total, total });
    expect(total).toBe(WEIGHTS.length + 38);
    asked = [];
    for (const again of ['org/model', 'org/model@main', `org/model@${COMMIT}`])
      expect(await find(again, { HF_HUB_OFFLINE: '1' })).toBe(folder);
    expect(asked).toEqual([]);
  });

  it('leaves paths alone', async () => {
    await mkdir(join(cacheDir, 'org', 'model'), { recursive: true });
    expect(await resolveBase('org/model', { folder: cacheDir, env: {} })).toBe(
      join(cacheDir, 'org', 'model'),
    );
    for (const path of ['./org/model', '/org/model', 'a/b/c', '../b', 'base', 'base.gguf'])
      expect(await resolveBase(path, { folder: '/x', cacheDir, env: { HF_ENDPOINT } })).toBe(
        join(path.startsWith('/') ? '' : '/x', path),
      );
    expect(asked).toEqual([]);
  });

  it('goes on where a connection broke, and shows nothing until all is there', async () => {
    cutAfter = 100_000;
    await fails(find('org/model'), /^org\/model: /);
    const own = join(cacheDir, 'org--model');
    expect(await readdir(own)).toEqual([`${COMMIT}.part`]);
    const { size } = await stat(join(own, `${COMMIT}.part`, 'model.safetensors.part'));
    expect(size).toBeGreaterThan(0);
    expect(size).toBeLessThanOrEqual(cutAfter);
    cutAfter = null;
    asked = [];
    const folder = await find('org/model');
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(WEIGHTS);
    expect(asked).toContain(`model.safetensors ${size}-${WEIGHTS.length - 1}`);
    expect(asked.some((line) => line.startsWith('config.json'))).toBe(false);
  });

  it('may be asked for several times at once', async () => {
    for (let round = 0; round < 4; round++) {
      const folders = await Promise.all(Array.from({ length: 3 }, () => find('org/model')));
      expect(folders).toEqual(new Array(3).fill(join(cacheDir, 'org--model', COMMIT)));
      expect(await readFile(join(folders[0]!, 'model.safetensors'))).toEqual(WEIGHTS);
      expect((await readdir(join(cacheDir, 'org--model'))).sort()).toEqual([COMMIT, 'refs']);
      await rm(join(cacheDir, 'org--model'), { recursive: true });
    }
  });

  it.each(['config.json', 'model.safetensors'])(
    'keeps no %s that is not what the hub promised',
    async (name) => {
      served[name] = Buffer.from(FILES[name]!).fill(1, 3, 4);
      await fails(find('org/model'), `org/model: ${name}: what came is not what the hub promised`);
      served = FILES;
      expect(await readFile(join(await find('org/model'), name))).toEqual(FILES[name]);
    },
  );

  it('does not take all of a file for its rest', async () => {
    cutAfter = 100_000;
    await fails(find('org/model'), /^org\/model: /);
    cutAfter = null;
    isIgnoringRanges = true;
    await fails(find('org/model'), 'org/model: model.safetensors: what came is not what the hub promised');
    expect(await readFile(join(await find('org/model'), 'model.safetensors'))).toEqual(WEIGHTS);
  });

  it('says what is wrong in one line', async () => {
    await fails(
      find('org/other'),
      `org/other: there is no folder ${resolve('org/other')}, and ${HF_ENDPOINT} has no such model or revision (404)`,
    );
    await fails(
      find('org/model@v2'),
      `org/model@v2: there is no folder ${resolve('org/model@v2')}, and ${HF_ENDPOINT} has no such model or revision (404)`,
    );
    await fails(
      find('secret/model'),
      `secret/model: there is no folder ${resolve('secret/model')}, and ${HF_ENDPOINT} does not let it be read (401): set HF_TOKEN`,
    );
    await fails(find('broken/model'), `broken/model: ${HF_ENDPOINT} answers 500`);
    await fails(
      find('org/model', { HF_HUB_OFFLINE: '1' }),
      `org/model: there is no folder ${resolve('org/model')}, none in the cache, and HF_HUB_OFFLINE`,
    );
    await fails(
      find('org/model', { HF_ENDPOINT: 'http://127.0.0.1:1' }),
      `org/model: there is no folder ${resolve('org/model')}, and http://127.0.0.1:1 cannot be reached (`,
    );
    await fails(find('org/model', { HF_TOKEN: 'secret' }), 'org/model: HF_TOKEN is not a token of the hub');
    await writeFile(join(cacheDir, 'org--model'), '');
    await fails(find('org/model'), 'org/model: cannot be kept in the cache (');
  });

  it('says no password of the hub', async () => {
    const endpoint = HF_ENDPOINT.replace('//', '//me:s3cret@');
    const { message } = await find('org/model', { HF_ENDPOINT: endpoint }).catch((error) => error);
    expect(message).toContain(`${HF_ENDPOINT} cannot be reached (`);
    expect(message).not.toContain('s3cret');
  });

  it('says what a hub that is busy says', async () => {
    isBusy = true;
    const { message } = await find('org/model').catch((error) => error);
    expect(message).toContain('cannot be reached (later)');
  });

  it('shows its token to nobody whom the hub sends it to', async () => {
    elsewhere = `http://127.0.0.1:${(contents.address() as AddressInfo).port}`;
    const folder = await find('secret/model', { HF_TOKEN: 'hf_open' });
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(WEIGHTS);
    expect(shown.length).toBeGreaterThan(0);
    expect(shown.filter((token) => token !== undefined)).toEqual([]);
  });

  it('shows its token', async () => {
    expect(await find('secret/model', { HF_TOKEN: 'hf_open' })).toBe(join(cacheDir, 'secret--model', COMMIT));
  });
});

describe('parseHubId', () => {
  it.each([
    ['org/name', { name: 'org/name', revision: 'main' }],
    ['FacebookAI/roberta-large@v1.0', { name: 'FacebookAI/roberta-large', revision: 'v1.0' }],
    ['org/name@refs/pr/1', { name: 'org/name', revision: 'refs/pr/1' }],
    ['org/name@../x', null],
    ['org/name@a/../b', null],
    ['org/name@', null],
    ['name', null],
    ['../name', null],
    ['a/b/c', null],
    ['C:\\x', null],
  ])('%s', (text, id) => {
    expect(parseHubId(text)).toEqual(id);
  });
});
