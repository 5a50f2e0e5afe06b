import { readdir, readFile } from 'node:fs/promises';
import { scope, type Tensor, tensor } from '@s3t/engine';
import { AdapterStore } from '@s3t/ledger';
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

test('what is not active is not exported, and nothing is left of what fails', async () => {
  await using run = await trained('changing');
  const out = project.path('refused');
  const fails = (options: object, problem: string) =>
    expect(run.export({ shard: 0, out, ...options })).rejects.toThrow(problem);
  await fails({ shard: 1 }, "shard: 1 is none of this run's 1; they count from 0");
  await fails({ depth: 4 }, 'depth: 4 is not from 1 to 3, which shard 0 serves');
  await fails({ out: project.path('base') }, `${project.path('base')}: exists already; name a new folder`);
  // Before the first stage is read, a record of the last one is erased.
  const get = AdapterStore.prototype.get;
  const reading = vi.spyOn(AdapterStore.prototype, 'get').mockImplementationOnce(async function (
    this: AdapterStore,
    digest,
  ) {
    const bytes = await get.call(this, digest);
    await run.erase([project.idsIn(0, 0)[0]!]);
    return bytes;
  });
  await expect(run.export({ shard: 0, depth: 1, out })).rejects.toThrow(
    'records were erased during the export; export again',
  );
  reading.mockRestore();
  await fails({}, 'shard: 0 serves nothing; train or repair it first');
  expect((await readdir(project.folder)).filter((name) => name.startsWith('refused'))).toEqual([]);
});
