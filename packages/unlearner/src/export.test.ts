import { readdir, readFile } from 'node:fs/promises';
import { scope, Tensor, tensor } from '@s3t/engine';
import {
  adapterGroups,
  type BaseModel,
  loadBaseModel,
  placeStage,
  readAdapter,
  type StageForm,
} from '@s3t/model';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { sharedDevice } from './testing/device.ts';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import type { Export, Input } from './types.ts';
import type { Unlearner } from './unlearner.ts';

const device = sharedDevice();
const inputs: Input[] = madeRecords(4, 31).map(imageOf);
let project: Project;
beforeAll(async () => {
  project = await Project.make({ change: { shards: 1, budget: 1, quantization: 'int8' } });
  await using run = await project.open('trained', { device: device() });
  await run.train();
});
afterAll(() => project[Symbol.asyncDispose]());
afterEach(() => vi.restoreAllMocks());

async function trained(name: string): Promise<Unlearner> {
  await project.copy('trained', name);
  return project.open(name, { device: device() });
}

/** The scores by label, computed with what is in an exported folder and nothing of the run. */
async function scoresOf({ out, depth, kind }: Export): Promise<Map<string, number>[]> {
  const isModel = kind === 'model';
  const base = await loadBaseModel(device(), isModel ? out : project.path('base'), {
    quantization: isModel ? undefined : 'int8',
  });
  const { labels } = project.config.data as { labels: string[] };
  const { architecture } = base.network;
  const lora = { rank: 4, alpha: 4, rslora: true, dropout: 0, targets: ['query', 'value'] };
  const form: StageForm = { architecture, lora, outputs: labels.length };
  const layers = adapterGroups(architecture.layers, 3).slice(0, depth).flat();
  const adapter = isModel ? out.replace('merged', 'adapter') : out;
  const { stage } = placeStage(device(), form, layers, await readAdapter(adapter, form, layers), 'serve');
  return Promise.all(
    inputs.map(async (input) => {
      const logits = await logitsOf(base, input, isModel ? { ...stage, adapters: new Map() } : stage);
      const powers = [...logits].map((value) => Math.exp(value - Math.max(...logits)));
      const sum = powers.reduce((a, b) => a + b);
      return new Map(labels.map((label, i) => [label, powers[i]! / sum]));
    }),
  );
}

function logitsOf(
  { network, encode }: BaseModel,
  input: Input,
  stage: ReturnType<typeof placeStage>['stage'],
) {
  const { pixels } = encode(input as { image: never });
  const logits = scope(() => {
    let x: Tensor = network.embed({
      pixels: tensor(device(), pixels as Float32Array<ArrayBuffer>, [1, 1, 8, 8]),
    });
    for (let layer = 0; layer < network.architecture.layers; layer++)
      x = network.layer(layer, x, { inputs: {}, adapter: stage.adapters.get(layer) });
    return network.logits(x, stage.head);
  });
  return logits.read();
}

test('an adapter and a merged model answer as the run does, and say what they are made of', async () => {
  await using run = await trained('plain');
  const [adapter, merged] = [project.path('adapter'), project.path('merged')];
  const { answers } = await run.predict(inputs);
  const { shards, version, manifest } = await run.status();
  const about = {
    shard: 0,
    depth: 3,
    stages: shards[0]!.sequences[0]!.stages.map(({ stage, weights }) => ({ stage, weights })),
    base: expect.stringMatching(/^[0-9a-f]{64}$/),
    version,
    manifest,
  };
  for (const [out, kind] of [
    [adapter, 'adapter'],
    [merged, 'model'],
  ] as const) {
    const exported = await run.export({ shard: 0, out, merge: kind === 'model' });
    expect(exported).toEqual({ out, kind, ...about });
    expect(JSON.parse(await readFile(`${out}/s3t-export.json`, 'utf8'))).toEqual({ kind, ...about });
    for (const [i, scores] of (await scoresOf(exported)).entries())
      for (const { label, score } of answers[i]!) expect(scores.get(label)).toBeCloseTo(score, 5);
  }
  expect(JSON.parse(await readFile(`${adapter}/adapter_config.json`, 'utf8'))).toMatchObject({
    base_model_name_or_path: project.path('base'),
    task_type: null,
    r: 4,
    layers_to_transform: [0, 1, 2],
  });
  expect((await readdir(merged)).sort()).toEqual([
    'config.json',
    'model.safetensors',
    'preprocessor_config.json',
    's3t-export.json',
  ]);
});

test('a smaller depth takes the stages from the top, and the head of the last of them', async () => {
  await using run = await trained('depths');
  const exported = await run.export({ shard: 0, depth: 1, out: project.path('shallow') });
  expect(exported).toMatchObject({ depth: 1, stages: [{}] });
  const shallow = await scoresOf(exported);
  await run.erase([project.idsIn(0, 1)[0]!]);
  expect((await run.status()).shards[0]!.servedDepth).toBe(1);
  const { answers } = await run.predict(inputs);
  for (const [i, scores] of shallow.entries())
    for (const { label, score } of answers[i]!) expect(scores.get(label)).toBeCloseTo(score, 5);
});

const left = async (name: string) => (await readdir(project.folder)).filter((each) => each.startsWith(name));

/** Does something while the first merged tensor of a model is about to be written, and something else at every other. */
function whileMerging(first: () => Promise<unknown>, then: () => unknown = () => {}): void {
  const read = Tensor.prototype.read;
  let count = 0;
  vi.spyOn(Tensor.prototype, 'read').mockImplementation(async function (this: Tensor) {
    const values = await read.call(this);
    await (count++ === 0 ? first() : then());
    return values as Float32Array<ArrayBuffer>;
  });
}

test('an erasure ends an export of what it deactivates, and nothing is left of that when it is acknowledged', async () => {
  await using run = await trained('erased');
  const { weights } = (await run.status()).shards[0]!.sequences[0]!.stages[2]!;
  let erased: Promise<string[]> | undefined;
  const erase = async () => {
    expect(await left('dropped')).toEqual(['dropped.part']);
    erased = run.erase([project.idsIn(0, 2)[0]!]).then(() => left('dropped'));
    const isDestroyed = async () =>
      !(await readdir(project.path('erased', 'adapters'))).join().includes(weights!);
    await vi.waitUntil(isDestroyed, 60_000);
  };
  // No further tensor is written before the acknowledgement, if it does not wait for the export.
  whileMerging(erase, () => erased);
  await expect(run.export({ shard: 0, merge: true, out: project.path('dropped') })).rejects.toMatchObject({
    code: 'unavailable',
    message: 'records were erased during the export; export again',
  });
  expect(await erased).toEqual([]);
});

test('an erasure of something else is acknowledged while an export goes on', async () => {
  await using run = await trained('apart');
  whileMerging(() => run.erase([project.idsIn(0, 2)[0]!]));
  await run.export({ shard: 0, depth: 2, merge: true, out: project.path('kept') });
  expect(await left('kept')).toEqual(['kept']);
  expect((await run.status()).shards[0]!.servedDepth).toBe(2);
});

test('an export that is stopped, by a signal or by closing, leaves nothing', async () => {
  const run = await trained('stopping');
  const out = project.path('stopped');
  const stop = new AbortController();
  whileMerging(async () => stop.abort(new Error('Ctrl-C')));
  const asked = { shard: 0, merge: true, out };
  await expect(run.export({ ...asked, signal: stop.signal })).rejects.toThrow('Ctrl-C');
  expect(await left('stopped')).toEqual([]);
  vi.restoreAllMocks();
  let closed: Promise<void> | undefined;
  whileMerging(async () => {
    closed = run.close();
  });
  await expect(run.export(asked)).rejects.toThrow('the run was closed');
  await closed;
  expect(await left('stopped')).toEqual([]);
});

test('a slash behind the folder changes nothing', async () => {
  await using run = await trained('slash');
  await run.export({ shard: 0, out: `${project.path('slashed')}/` });
  expect(await readdir(project.path('slashed'))).toContain('adapter_model.safetensors');
  expect(await left('slashed')).toEqual(['slashed']);
});

test('what is not active is not exported, and nothing is left of what fails', async () => {
  await using run = await trained('changing');
  const out = project.path('refused');
  const fails = (options: object, problem: string) =>
    expect(run.export({ shard: 0, out, ...options })).rejects.toThrow(problem);
  await fails({ shard: 1 }, "shard: 1 is none of this run's 1; they count from 0");
  await fails({ depth: 4 }, 'depth: 4 is not from 1 to 3, which shard 0 serves');
  await fails({ out: project.path('base') }, `${project.path('base')}: exists already; name a new folder`);
  await fails({ signal: AbortSignal.abort(new Error('Ctrl-C')) }, 'Ctrl-C');
  await run.erase([project.idsIn(0, 0)[0]!]);
  await fails({}, 'shard: 0 serves nothing; train or repair it first');
  expect(await left('refused')).toEqual([]);
});
