import { afterEach, describe, expect, it } from 'vitest';
import { type App, createApp } from '../app.ts';
import type { AppOptions } from '../options.ts';
import { gate, image, post, settle } from '../testing/request.ts';
import { RunError, StandIn } from '../testing/stand-in.ts';

let app: App;
let run: StandIn;

function start(options: AppOptions = {}): void {
  run = new StandIn();
  app = createApp(run, { onError: () => {}, ...options });
}

afterEach(() => app.shutdown());

const errorOf = async (response: Response): Promise<{ code: string; message: string; path?: string }> =>
  ((await response.json()) as { error: { code: string; message: string; path?: string } }).error;

describe('POST /v1/predict', () => {
  it('answers, and says with which ensemble', async () => {
    start();
    const response = await post(app, '/v1/predict', { inputs: [image(1), image(2)], top: 1 });
    expect(response.status).toBe(200);
    const { version, manifest } = await run.status();
    expect(response.headers.get('x-s3t-version')).toBe(String(version));
    expect(response.headers.get('x-s3t-manifest')).toBe(manifest);
    expect(response.headers.get('cache-control')).toBe('no-store');
    // Scores are coarse on purpose.
    expect(await response.json()).toEqual({
      version,
      manifest,
      answers: [[{ label: 'label-1', score: 0.988 }], [{ label: 'label-2', score: 0.988 }]],
    });
  });

  it('takes pixels as base64', async () => {
    start();
    const pixels = btoa(String.fromCharCode(7, 0, 0, 255));
    const response = await post(app, '/v1/predict', { inputs: [{ image: { width: 2, height: 2, pixels } }] });
    expect(await response.json()).toMatchObject({ answers: [[{ label: 'label-7' }, { label: 'other' }]] });
  });

  it('takes texts by field, in order, and alone', async () => {
    start();
    const asked: unknown[] = [];
    run.answer = (input) => {
      asked.push(input);
      return [];
    };
    const fields = { premise: 'a', hypothesis: 'b' };
    const inputs = [{ text: fields }, { text: ['a', 'b'] }, { text: 'a' }, ['a', 'b'], ['a'], 'a', ''];
    expect((await post(app, '/v1/predict', { inputs })).status).toBe(200);
    const texts = [fields, ['a', 'b'], 'a', ['a', 'b'], ['a'], 'a', ''];
    expect(asked).toEqual(texts.map((text) => ({ text })));
  });

  it('computes again when the version moves between the answer and its sending', async () => {
    start();
    let moves = 3;
    run.beforeAnswer = () => {
      if (moves-- > 0) run.bump();
    };
    const response = await post(app, '/v1/predict', { inputs: [image(1)] });
    const { version } = await run.status();
    expect(response.headers.get('x-s3t-version')).toBe(String(version));
    expect(await response.json()).toMatchObject({ version });
    expect(run.batches).toEqual([1, 1, 1, 1]);
  });

  it('sends no answer of an ensemble that was swapped out while the batch ran', async () => {
    start();
    const slow = gate();
    run.beforeAnswer = () => slow.opened;
    const asked = Promise.all([1, 2, 3].map((n) => post(app, '/v1/predict', { inputs: [image(n)] })));
    await settle();
    const erased = await post(app, '/v1/erasures', { records: ['train/0'] });
    const { after } = (await erased.json()) as { after: { version: number } };
    slow.open();
    for (const response of await asked) {
      expect(Number(response.headers.get('x-s3t-version'))).toBeGreaterThanOrEqual(after.version);
    }
  });

  it('answers 429 when the queue is full, and everything else is answered', async () => {
    start({ maxBatch: 2, maxQueue: 4 });
    const slow = gate();
    run.beforeAnswer = () => slow.opened;
    // One is computed, two wait behind it, four in the queue.
    const asked = Array.from({ length: 10 }, (_, n) => post(app, '/v1/predict', { inputs: [image(n)] }));
    await settle();
    slow.open();
    const responses = await Promise.all(asked);
    const statuses = responses.map(({ status }) => status).sort();
    expect(statuses).toEqual([...Array(7).fill(200), 429, 429, 429]);
    const refused = responses.find(({ status }) => status === 429)!;
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await errorOf(refused)).toMatchObject({ code: 'queue-full' });
  });

  it('answers 503 when no shard serves', async () => {
    start();
    run.beforeAnswer = () => {
      throw new RunError('unavailable', 'no shard has an active stage');
    };
    const response = await post(app, '/v1/predict', { inputs: [image(1)] });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await errorOf(response)).toMatchObject({ code: 'unavailable' });
  });

  it('names the field the run objects to', async () => {
    start();
    run.beforeAnswer = () => {
      throw new RunError('usage', 'inputs.1.text.hypothesis: must be a text');
    };
    const response = await post(app, '/v1/predict', { inputs: [image(1), image(2)] });
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toEqual({
      code: 'usage',
      message: 'must be a text',
      path: 'inputs.1.text.hypothesis',
    });
  });

  const wrong: [string, unknown, string | undefined][] = [
    ['no inputs', {}, 'inputs'],
    ['inputs of another type', { inputs: 'secret' }, 'inputs'],
    ['an empty list', { inputs: [] }, 'inputs'],
    ['neither image nor text', { inputs: [{}] }, 'inputs.0'],
    ['both', { inputs: [{ ...image(1), text: { a: 'b' } }] }, 'inputs.0'],
    ['an unknown field', { inputs: [{ ...image(1), secret: 1 }] }, 'inputs.0.secret'],
    ['no width', { inputs: [{ image: { height: 1, pixels: [0] } }] }, 'inputs.0.image.width'],
    [
      'a broken width',
      { inputs: [{ image: { width: 1.5, height: 1, pixels: [0] } }] },
      'inputs.0.image.width',
    ],
    [
      'a pixel of 256',
      { inputs: [{ image: { width: 1, height: 1, pixels: [256] } }] },
      'inputs.0.image.pixels',
    ],
    [
      'a pixel that is text',
      { inputs: [{ image: { width: 1, height: 1, pixels: ['secret'] } }] },
      'inputs.0.image.pixels',
    ],
    [
      'too few pixels',
      { inputs: [image(1), { image: { width: 2, height: 2, pixels: [0] } }] },
      'inputs.1.image.pixels',
    ],
    [
      'broken base64',
      { inputs: [{ image: { width: 1, height: 1, pixels: '*secret*' } }] },
      'inputs.0.image.pixels',
    ],
    [
      '2 channels',
      { inputs: [{ image: { width: 1, height: 1, channels: 2, pixels: [0, 0] } }] },
      'inputs.0.image.channels',
    ],
    ['an input that is a number', { inputs: [7] }, 'inputs.0'],
    ['no texts', { inputs: [[]] }, 'inputs.0'],
    ['three texts', { inputs: ['a', ['a', 'b', 'c']] }, 'inputs.1'],
    ['a number among texts', { inputs: [['a', 12345]] }, 'inputs.0.1'],
    ['texts that are a number', { inputs: [{ text: 12345 }] }, 'inputs.0.text'],
    ['a text that is too long', { inputs: ['secret'.repeat(20_000)] }, 'inputs.0'],
    ['text that is a number', { inputs: [{ text: { a: 12345 } }] }, 'inputs.0.text.a'],
    ['top 0', { inputs: [image(1)], top: 0 }, 'top'],
    ['a list', [], 'inputs'],
    ['null', null, undefined],
  ];
  it.each(wrong)('400, with the path, for %s', async (_, body, path) => {
    start();
    const response = await post(app, '/v1/predict', body);
    expect(response.status).toBe(400);
    const error = await errorOf(response);
    expect(error.path).toBe(path);
    expect(error.message).not.toMatch(/secret|12345/);
  });

  it('413 for more inputs than a batch holds, before looking at them', async () => {
    start({ maxBatch: 4 });
    const response = await post(app, '/v1/predict', { inputs: new Array(100_000).fill(0) });
    expect(response.status).toBe(413);
    expect(await errorOf(response)).toMatchObject({ path: 'inputs' });
  });

  it('413 for a body beyond the limit, with and without a length', async () => {
    start({ maxBody: 100 });
    const body = JSON.stringify({ inputs: [image(1)], padding: 'x'.repeat(100) });
    expect((await post(app, '/v1/predict', body, { 'Content-Length': String(body.length) })).status).toBe(
      413,
    );
    expect((await post(app, '/v1/predict', body)).status).toBe(413);
  });

  it('400 for what is not JSON, 415 for what does not claim to be', async () => {
    start();
    expect((await post(app, '/v1/predict', '{"inputs":')).status).toBe(400);
    const plain = await post(app, '/v1/predict', { inputs: [image(1)] }, { 'Content-Type': 'text/plain' });
    expect(plain.status).toBe(415);
  });
});
