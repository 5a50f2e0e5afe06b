// What clients of other APIs send, and what they get. The pictures are 2 x 2 pixels; the first pixel names the label.
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type App, createApp } from '../app.ts';
import { image, post } from '../testing/request.ts';
import { StandIn } from '../testing/stand-in.ts';

let app: App;
let run: StandIn;
let served: { version: number; manifest: string };
const apps: App[] = [];

beforeEach(async () => {
  run = new StandIn();
  app = createApp(run, { modelName: 'digits', maxBatch: 4, onError: () => {} });
  apps.push(app);
  const { version, manifest } = await run.status();
  served = { version, manifest };
});
afterAll(async () => {
  for (const each of apps) await each.shutdown();
});

/** One white pixel. */
const GIF = 'R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs=';

function expectStamp(response: Response): void {
  expect(response.headers.get('x-s3t-version')).toBe(String(served.version));
  expect(response.headers.get('x-s3t-manifest')).toBe(served.manifest);
}

const tensor = (firsts: number[], more: object = {}) => ({
  ...{ name: 'image', shape: [firsts.length, 2, 2, 1], datatype: 'UINT8' },
  data: firsts.flatMap((first) => [first, 0, 0, 0]),
  ...more,
});
const infer = (input: object, more: object = {}) => ({ inputs: [input], ...more });
const INFER = '/v2/models/digits/infer';
const [BEST, OTHER] = [0.988, 0.012];
const labels = ['label-7', 'label-9'];

/** What each of these sends, and what of the answer it must find. */
const answered: [string, string, object, unknown][] = [
  [
    'TEI: one',
    '/predict',
    { inputs: GIF },
    [
      { label: 'label-255', score: BEST },
      { label: 'other', score: OTHER },
    ],
  ],
  ['TEI: a data: URL', '/predict', { inputs: `data:image/gif;base64,${GIF}` }, [{ label: 'label-255' }, {}]],
  [
    'TEI: a list, with all its options',
    '/predict',
    { inputs: [GIF, GIF], raw_scores: false, truncate: true, truncation_direction: 'Right' },
    [
      [{ label: 'label-255' }, {}],
      [{ label: 'label-255' }, {}],
    ],
  ],
  [
    'OIP: two images, flat',
    INFER,
    infer(tensor([7, 9]), { id: 'a-1' }),
    {
      ...{ model_name: 'digits', id: 'a-1' },
      outputs: [
        { name: 'scores', datatype: 'FP32', shape: [2, 257] },
        { name: 'label', datatype: 'BYTES', shape: [2], data: labels },
      ],
    },
  ],
  [
    'OIP: nested, only the labels',
    INFER,
    infer(
      tensor([7], {
        data: [
          [
            [[7], [0]],
            [[0], [0]],
          ],
        ],
      }),
      { outputs: [{ name: 'label' }] },
    ),
    { outputs: [{ name: 'label', data: ['label-7'] }] },
  ],
  [
    'OIP: classification',
    INFER,
    infer(tensor([7]), { outputs: [{ name: 'scores', parameters: { classification: 2 } }] }),
    {
      outputs: [
        { name: 'scores', datatype: 'BYTES', shape: [1, 2], data: ['0.988:7:label-7', '0.012:256:other'] },
      ],
    },
  ],
  [
    'OIP: image files, and parameters nobody knows',
    INFER,
    infer(
      { name: 'image', shape: [1], datatype: 'BYTES', data: [GIF], parameters: { content_type: 'base64' } },
      { parameters: { priority: 1 }, outputs: [{ name: 'label' }] },
    ),
    { outputs: [{ data: ['label-255'] }] },
  ],
];

it.each(answered)('%s', async (_, path, body, expected) => {
  const response = await post(app, path, body);
  expect(await response.json()).toMatchObject(expected as object);
  expect(response.status).toBe(200);
  expectStamp(response);
});

const refused: [string, string, unknown, number, string][] = [
  ['TEI: logits', '/predict', { inputs: GIF, raw_scores: true }, 400, 'raw_scores: expected false'],
  ['TEI: no inputs', '/predict', {}, 400, 'inputs: required'],
  ['TEI: an empty list', '/predict', { inputs: [] }, 400, 'inputs: '],
  ['TEI: too many', '/predict', { inputs: new Array(5).fill(GIF) }, 413, 'inputs: at most 4 items'],
  ['TEI: no base64', '/predict', { inputs: ['*secret*'] }, 400, 'inputs.0: expected base64'],
  ['TEI: no image', '/predict', { inputs: btoa('<svg secret/>') }, 400, 'inputs: expected a PNG'],
  [
    'TEI: half an image',
    '/predict',
    { inputs: [GIF, btoa('GIF89a secret')] },
    400,
    'inputs.1: expected a PNG',
  ],
  ['OIP: another model', '/v2/models/cats/infer', infer(tensor([7])), 404, 'there is no such model'],
  [
    'OIP: a version to come',
    '/v2/models/digits/versions/999/infer',
    infer(tensor([7])),
    404,
    'this version is not',
  ],
  ['OIP: floats', INFER, infer(tensor([7], { datatype: 'FP32' })), 400, 'inputs.0.datatype: expected'],
  ['OIP: another input', INFER, infer(tensor([7], { name: 'secret' })), 400, 'inputs.0.name: expected'],
  ['OIP: no batch', INFER, infer(tensor([7], { shape: [2, 2, 1] })), 400, 'inputs.0.shape: expected'],
  ['OIP: a pixel of 256', INFER, infer(tensor([256])), 400, 'inputs.0.data: expected integers'],
  [
    'OIP: a pixel that is text',
    INFER,
    infer(tensor([7], { data: ['secret'] })),
    400,
    'inputs.0.data: expected',
  ],
  ['OIP: too few pixels', INFER, infer(tensor([7], { data: [7] })), 400, 'inputs.0.data: expected as many'],
  [
    'OIP: too many pixels',
    INFER,
    infer(tensor([7], { data: [[7, 0, 0, 0, 0]] })),
    400,
    'inputs.0.data: expected as',
  ],
  [
    'OIP: a shape too large',
    INFER,
    infer(tensor([7], { shape: [1, 8192, 8192, 3] })),
    400,
    'inputs.0.data: expected',
  ],
  ['OIP: too many images', INFER, infer(tensor([1, 2, 3, 4, 5])), 413, 'inputs.0.shape: at most 4 images'],
  ['OIP: two inputs', INFER, { inputs: [tensor([7]), tensor([7])] }, 400, 'inputs: expected 1 item'],
  [
    'OIP: another output',
    INFER,
    infer(tensor([7]), { outputs: [{ name: 'logits' }] }),
    400,
    'outputs.0.name: expected',
  ],
  ['OIP: not JSON', INFER, '{"inputs":', 400, 'the body is not JSON'],
];

it.each(refused)('refuses %s', async (_, path, body, status, message) => {
  const response = await post(app, path, body);
  const text = await response.text();
  expect([response.status, JSON.parse(text).error]).toEqual([status, expect.stringContaining(message)]);
  expect(Object.keys(JSON.parse(text))).toEqual(path === '/predict' ? ['error', 'error_type'] : ['error']);
  expect(text).not.toContain('secret');
  expectStamp(response);
  expect(run.batches).toEqual([]);
});

describe('what the model is', () => {
  const json = async (path: string): Promise<unknown> => {
    const response = await app.request(path);
    expect(response.status).toBe(200);
    expectStamp(response);
    return response.json();
  };

  it('TEI: /info', async () => {
    expect(await json('/info')).toMatchObject({
      ...{ model_id: 'digits', model_sha: served.manifest, max_client_batch_size: 4 },
      model_type: { classifier: { id2label: { 7: 'label-7' }, label2id: { other: 256 } } },
    });
  });

  it('OIP: server, model and version', async () => {
    expect(await json('/v2')).toMatchObject({ name: 's3t', extensions: ['classification'] });
    const model = { name: 'digits', versions: [String(served.version)], parameters: { labels: run.labels } };
    expect(await json('/v2/models/digits')).toMatchObject(model);
    expect(await json(`/v2/models/digits/versions/${served.version}`)).toMatchObject(model);
    expect(await json('/v2/models/digits/ready')).toEqual({ name: 'digits', ready: true });
    expect(await json('/v2/health/ready')).toEqual({ ready: true });
    expect(await (await app.request('/v2/health/live')).json()).toEqual({ live: true });
  });

  it('OIP: ready while a shard serves', async () => {
    await post(app, '/v1/erasures', { records: Array.from({ length: 1200 }, (_, n) => `train/${n}`) });
    for (const path of ['/v2/health/ready', '/v2/models/digits/ready']) {
      const response = await app.request(path);
      expect([response.status, await response.json()]).toEqual([
        503,
        { error: 'no shard serves anything yet' },
      ]);
    }
  });

  it('OpenAI: /v1/models', async () => {
    const model = {
      ...{ id: 'digits', object: 'model', created: run.createdAt / 1000, owned_by: 's3t' },
      ...{ task: 'image-classification', reads: 'image', fields: ['photo'] },
    };
    expect(await json('/v1/models')).toEqual({ object: 'list', data: [model] });
    expect(await json('/v1/models/digits')).toEqual(model);
    const response = await app.request('/v1/models/gpt-4');
    const error = { type: 'invalid_request_error', param: 'model', code: 'model_not_found' };
    expect([response.status, await response.json()]).toMatchObject([404, { error }]);
  });
});

it('an answer of the version asked for is refused when that is gone before it is sent', async () => {
  let moved = false;
  run.beforeAnswer = () => {
    if (!moved) run.bump();
    moved = true;
  };
  const response = await post(app, `/v2/models/digits/versions/${served.version}/infer`, infer(tensor([7])));
  expect(response.status).toBe(404);
});

it('gives every API the answers of /v1/predict', async () => {
  const own = await (await post(app, '/v1/predict', { inputs: [image(7)], top: 300 })).json();
  const oip = await (await post(app, INFER, infer(tensor([7])))).json();
  const scores = (own as { answers: { label: string; score: number }[][] }).answers[0]!;
  const { data } = (oip as { outputs: { data: number[] }[] }).outputs[0]!;
  for (const { label, score } of scores) expect(data[run.labels.indexOf(label)]).toBe(score);
});

describe('a run that reads texts', () => {
  // The stand-in names the label after the length of the first text.
  const open = () => {
    const texts = createApp(new StandIn({ reads: 'text' }), { modelName: 'digits', maxBatch: 4 });
    apps.push(texts);
    return texts;
  };
  const best = (answers: unknown) => (answers as { label: string }[])[0]!.label;

  it('TEI: a text, a pair, a batch', async () => {
    const ask = async (inputs: unknown) => (await post(open(), '/predict', { inputs })).json();
    expect(best(await ask('seven..'))).toBe('label-7');
    expect(best(await ask(['four', 'other']))).toBe('label-4');
    const batch = (await ask([['four'], ['a', 'b']])) as unknown[];
    expect(batch.map(best)).toEqual(['label-4', 'label-1']);
    const wrong = await post(open(), '/predict', { inputs: [['a', 'b', 'c']] });
    expect([wrong.status, await wrong.json()]).toMatchObject([400, { error_type: 'validation' }]);
  });

  it('OIP: a tensor of texts', async () => {
    const text = { name: 'text', datatype: 'BYTES', shape: [2, 2], data: ['a', 'b', 'ccc', 'd'] };
    const answer = await post(open(), INFER, infer(text, { outputs: [{ name: 'label' }] }));
    expect(await answer.json()).toMatchObject({ outputs: [{ data: ['label-1', 'label-3'] }] });
    const { inputs } = (await (await open().request('/v2/models/digits')).json()) as { inputs: unknown };
    expect(inputs).toEqual([{ name: 'text', datatype: 'BYTES', shape: [-1, -1] }]);
    for (const [wrong, status] of [
      [{ ...text, shape: [3] }, 400],
      [{ ...text, data: [1, 2, 3, 4] }, 400],
      [{ ...text, shape: [5] }, 413],
      [tensor([7]), 400],
    ] as const)
      expect((await post(open(), INFER, infer(wrong))).status).toBe(status);
  });

  it('is asked for no more characters than are taken apart at once, in any shape', async () => {
    const [fits, long] = ['x'.repeat(100_000), 'x'.repeat(100_001)];
    const app = createApp(new StandIn({ reads: 'text' }), { modelName: 'digits', onError: () => {} });
    apps.push(app);
    const asked = async (path: string, body: object) => {
      const response = await post(app, path, body);
      return [response.status, await response.text()];
    };
    const bytes = (data: string[]) => infer({ name: 'text', datatype: 'BYTES', shape: [data.length], data });
    expect(await asked(INFER, bytes([fits]))).toEqual([200, expect.anything()]);
    const tooLong = [400, expect.stringMatching(/inputs\.0\.data\.1.*at most 100000 characters/)];
    expect(await asked(INFER, bytes(['x', long]))).toEqual(tooLong);
    const eleven = new Array<string>(11).fill(fits);
    const together = expect.stringContaining('at most 1000000 characters together');
    for (const [path, body] of [
      [INFER, bytes(eleven)],
      ['/v1/predict', { inputs: eleven }],
      ['/v1/predict', { inputs: [{ text: { ...eleven } }] }],
      ['/predict', { inputs: eleven.map((text) => [text]) }],
    ] as const)
      expect(await asked(path, body)).toEqual([413, together]);
  });
});
