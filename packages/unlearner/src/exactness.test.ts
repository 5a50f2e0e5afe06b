import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WorkChild } from './testing/child.ts';
import { sharedDevice } from './testing/device.ts';
import { type MadeRecord, madeRecord, madeRecords } from './testing/pictures.ts';
import { type ConfigChange, Project } from './testing/project.ts';
import { expectOnlyActiveFiles, expectSame, snapshotOf, weightsOf } from './testing/snapshot.ts';
import type { Status, UnlearnerEvent } from './types.ts';
import type { Unlearner } from './unlearner.ts';

const device = sharedDevice();

/** Trains, erases one request after the other, repairs; the run stays open. */
async function trainEraseRepair(project: Project, name: string, erasures: string[][]): Promise<Unlearner> {
  const run = await project.open(name, { device: device() });
  await run.train();
  const before = weightsOf(await run.status());
  const gone = new Set<string>();
  for (const ids of erasures)
    for (const { shard, stage } of (await run.erase(ids)).deactivated) gone.add(`${shard}/${stage}`);
  expect((await run.status()).missing).toBe(gone.size);
  await run.repair();
  // Only what learnt from the records was trained again.
  const after = weightsOf(await run.status());
  for (const [stage, weights] of before) expect(after.get(stage)).toBe(gone.has(stage) ? undefined : weights);
  await expectOnlyActiveFiles(project.path(name), run);
  return run;
}

/** A fresh run in a project whose data never held `erased`. */
async function trainClean(
  project: Project,
  erased: readonly string[],
  from: readonly MadeRecord[] = project.records,
  change: ConfigChange = {},
): Promise<Unlearner> {
  await project.writeTrain(from.filter(({ id }) => !erased.includes(id)));
  const config = await project.writeConfig('clean.json', change);
  const run = await project.open('clean', { device: device(), config });
  await run.train();
  return run;
}

describe('train on D, erase R, repair is bit for bit train on D without R', () => {
  // In each: two requests, hitting several slices of both shards, the first and the last of the first sequence among them.
  const cases: [string, Parameters<typeof Project.make>[0], clean?: ConfigChange][] = [
    ['two sequences', {}],
    [
      'dropout, clipping, epochs until none is better, a cosine, an int8 base, rounded activations partly on disk',
      {
        change: {
          budget: 1,
          quantization: 'int8',
          lora: { dropout: 0.2, targets: ['query', 'key', 'value'], rslora: false },
          training: {
            epochs: 4,
            earlyStopping: { patience: 1 },
            batchSize: 5,
            schedule: 'cosine',
            warmup: 0.2,
            clipNorm: 0.5,
            keep: { dtype: 'f16', where: 'disk', bytes: 4500 },
          },
        },
      },
      { training: { keep: { dtype: 'f16' } } },
    ],
    [
      'activations in f16, some kept and some computed again, stages in one batch',
      {
        change: {
          lora: { dropout: 0.1 },
          training: { activations: 'f16', together: 3, batchSize: 5, keep: { bytes: 4500 } },
        },
      },
      { training: { together: 1, keep: { where: 'disk' } } },
    ],
    ['five sequences that share prefixes', { change: { budget: 5, lora: { dropout: 0.1 } } }],
    [
      'all orders, and layers below the lowest group',
      {
        base: { num_hidden_layers: 4 },
        change: { budget: 6, sequences: { strategy: 'all' }, training: { batchSize: 64 } },
      },
    ],
    [
      'two layers a group, a wider base, one shard, pictures that vary, steps of two batches',
      {
        base: { hidden_size: 32, num_hidden_layers: 4, intermediate_size: 64, num_attention_heads: 4 },
        change: {
          shards: 1,
          slices: 2,
          budget: 2,
          lora: { rank: 8, dropout: 0.1 },
          training: {
            batchSize: 8,
            accumulation: 2,
            augmentation: { flip: 0.5, randomResizedCrop: { area: [0.5, 1] } },
          },
        },
      },
    ],
  ];
  test.each(cases)('%s', async (_, options, change) => {
    await using project = await Project.make(options);
    const { shards, slices } = project.config as { shards: number; slices: number };
    const first = [...project.idsIn(0, 0).slice(0, 2), project.idsIn(shards - 1, 1)[0]!];
    const second = [project.idsIn(0, slices - 1)[1]!];
    await using repaired = await trainEraseRepair(project, 'repaired', [first, second]);
    const verification = await repaired.verify({ fromScratch: true });
    expect(verification).toMatchObject({ identical: true, differing: [] });
    expect(verification.compared).toBe(new Set(weightsOf(await repaired.status()).keys()).size);
    await using clean = await trainClean(project, [...first, ...second], project.records, change);
    expectSame(await snapshotOf(repaired), await snapshotOf(clean));
  });

  test('whatever comes between: repair after each erasure or after all, in any order, and shards in any order', async () => {
    await using project = await Project.make();
    const [a, b, c] = [project.idsIn(0, 1)[0]!, project.idsIn(0, 0)[1]!, project.idsIn(1, 2)[0]!];
    await using once = await trainEraseRepair(project, 'once', [[a, b, c]]);
    await using turns = await project.open('turns', { device: device() });
    await turns.train({ shards: [1] });
    expect((await turns.status()).missing).toBe(6);
    await turns.train();
    for (const id of [c, a, b]) {
      await turns.erase([id]);
      await turns.repair();
    }
    await using early = await project.open('early', { device: device() });
    await early.erase([b, c]); // before anything is trained
    await early.train({ shards: [0] });
    await early.erase([a]);
    await early.train();
    expectSame(await snapshotOf(turns), await snapshotOf(once));
    expectSame(await snapshotOf(early), await snapshotOf(once));
  });

  test('a fresh process, with the records in another order', async () => {
    await using project = await Project.make({ change: { lora: { dropout: 0.1 } } });
    const erased = [project.idsIn(0, 2)[0]!, project.idsIn(1, 0)[0]!];
    await using repaired = await trainEraseRepair(project, 'repaired', [erased]);
    await project.writeTrain(project.records.filter(({ id }) => !erased.includes(id)).toReversed());
    const work = { command: 'train', run: project.path('clean'), config: project.configFile } as const;
    const { status } = (await new WorkChild().result(work)) as { status: Status };
    const { manifest, records, missing, shards } = status;
    expectSame(await snapshotOf(repaired), { manifest, records, missing, shards });
  });

  test('erased records may stay in the file, leave it, or come back with other content', async () => {
    await using project = await Project.make();
    const erased = [project.idsIn(0, 0)[0]!, project.idsIn(1, 1)[1]!];
    const rest = project.records.filter(({ id }) => !erased.includes(id));
    await using run = await project.open('stay', { device: device() });
    await run.train();
    await run.erase(erased);
    await run.close();
    await project.copy('stay', 'leave');
    await project.copy('stay', 'return');
    const repair = async (name: string) => {
      await using reopened = await project.open(name, { device: device() });
      await reopened.repair();
      return await snapshotOf(reopened);
    };
    const stay = await repair('stay');
    await project.writeTrain([...rest].sort((a, b) => (a.pixels[0]! < b.pixels[0]! ? -1 : 1)));
    expectSame(await repair('leave'), stay);
    const changed = { ...madeRecord(0, 1234), id: erased[0]! };
    await project.writeTrain([changed, ...rest]);
    expectSame(await repair('return'), stay);
    await using clean = await trainClean(project, erased);
    expectSame(stay, await snapshotOf(clean));
  });
});

describe("a stage's bytes depend on its lineage only", () => {
  test('other shards may hold anything', async () => {
    await using project = await Project.make({ change: { budget: 5 } });
    await using run = await project.open('run', { device: device() });
    await run.train();
    const ofShard = (status: Status, shard: number) =>
      [...weightsOf(status)].filter(([stage]) => stage.startsWith(`${shard}/`));
    const others = new Set([0, 1, 2].flatMap((slice) => project.idsIn(1, slice)));
    const changed = project.records.map((record, i) =>
      others.has(record.id) ? { ...record, pixels: madeRecord(i, 555).pixels } : record,
    );
    await project.writeTrain(changed);
    await using other = await project.open('other', { device: device() });
    await other.train();
    const [left, right] = [await run.status(), await other.status()];
    expect(ofShard(left, 0)).toEqual(ofShard(right, 0));
    expect(ofShard(left, 0).length).toBeGreaterThan(5);
    for (const [stage, weights] of ofShard(left, 1)) {
      expect(weightsOf(right).has(stage)).toBe(false);
      expect([...weightsOf(right).values()]).not.toContain(weights);
    }
  });

  test('and so may slices behind it', async () => {
    await using project = await Project.make();
    await using run = await project.open('run', { device: device() });
    await run.train();
    // Sequences 0 1 2 and 1 2 0: whatever lies in slice 2, the stages over 0, over 0 1 and over 1 stay.
    const gone = project.idsIn(0, 2)[0]!;
    await using other = await trainClean(project, [gone]);
    const [left, right] = [weightsOf(await run.status()), weightsOf(await other.status())];
    const shared = [...left].filter(([stage, weights]) => right.get(stage) === weights);
    expect(shared).toHaveLength(6 + 3);
  });

  test('the run folder, the path of the data and the names of the files are no part of it', async () => {
    await using project = await Project.make();
    await using elsewhere = await Project.make({ change: { data: { train: 'other.jsonl' } } });
    const text = await readFile(project.path('train.jsonl'), 'utf8');
    await writeFile(elsewhere.path('other.jsonl'), text);
    await using here = await project.open('a', { device: device() });
    await here.train();
    await using there = await elsewhere.open('b', { device: device() });
    await there.train();
    expectSame(await snapshotOf(here), await snapshotOf(there));
  });
});

describe('what its id holds changes a stage', () => {
  test.each<[string, ConfigChange]>([
    ['the seed', { training: { seed: 2 } }],
    ['the rank', { lora: { rank: 2 } }],
    ['the order of the labels', { data: { labels: ['bottom', 'top', 'left', 'right'] } }],
    ['the number of slices', { slices: 2 }],
    ['the learning rate', { training: { learningRate: 0.011 } }],
  ])('%s', async (_, change) => {
    await using project = await Project.make({ records: madeRecords(24) });
    await using run = await project.open('run', { device: device() });
    const config = await project.writeConfig('other.json', change);
    await using other = await project.open('other', { device: device(), config });
    const ids = (status: Status) =>
      status.shards.flatMap(({ sequences }) =>
        sequences.flatMap(({ stages }) => stages.map(({ stage }) => stage)),
      );
    const [left, right] = [ids(await run.status()), ids(await other.status())];
    expect(right.filter((stage) => left.includes(stage))).toEqual([]);
  });
});

describe('verify', () => {
  let project: Project;
  let run: Unlearner;
  let status: Status;
  const stageOf = (shard: number, sequence: number, position: number) =>
    status.shards[shard]!.sequences[sequence]!.stages[position]!;

  beforeAll(async () => {
    project = await Project.make({ change: { lora: { dropout: 0.1 } } });
    run = await project.open('run', { device: device() });
    await run.train();
    await run.erase([project.idsIn(0, 1)[0]!]);
    await run.repair();
    status = await run.status();
  });
  afterAll(async () => {
    await run.close();
    await project[Symbol.asyncDispose]();
  });

  test('every stage, trained again or not', async () => {
    const whole = { identical: true, compared: 12, differing: [], missing: [] };
    expect(await run.verify()).toEqual(whole);
    expect(await run.verify({ fromScratch: true })).toEqual(whole);
    expect(await run.verify({ shards: [1] })).toEqual({ ...whole, compared: 6 });
  });

  test('shards that the run has not are refused, and not found identical', async () => {
    for (const shards of [[9], [0, 2], [-1], [0.5]])
      await expect(run.verify({ fromScratch: true, shards })).rejects.toMatchObject({
        code: 'usage',
        message: `shards: ${shards.at(-1)} is none of this run's 2; they count from 0`,
      });
    await expect(run.verify({ shards: [] })).rejects.toMatchObject({ code: 'usage' });
  });

  test('one stage, on the stored stages above it', async () => {
    for (const position of [0, 1, 2]) {
      const { stage } = stageOf(0, 1, position);
      const events: UnlearnerEvent[] = [];
      const stop = run.on((event) => events.push(event));
      expect(await run.verify({ stage })).toEqual({
        ...{ identical: true, compared: 1, differing: [], missing: [] },
      });
      stop();
      expect(events.filter(({ type }) => type === 'stage-started')).toHaveLength(1);
    }
    await expect(run.verify({ stage: 'f'.repeat(64) })).rejects.toMatchObject({ code: 'usage' });
  });

  test('reports stages that are not trained yet apart from those that differ', async () => {
    const half = await project.open('half', { device: device() });
    await half.train({ shards: [0] });
    const known = (await half.status()).shards[1]!.sequences.flatMap(({ stages }) =>
      stages.map(({ stage }) => stage),
    );
    const { missing, ...found } = await half.verify({ fromScratch: true });
    expect(found).toEqual({ identical: true, compared: 6, differing: [] });
    expect([...missing].sort()).toEqual([...new Set(known)].sort());
    // Where nothing is there to compare, nothing is shown.
    const none = { identical: false, compared: 0, differing: [] };
    expect(await half.verify({ shards: [1] })).toEqual({ ...none, missing });
    expect(await half.verify({ stage: missing[5]! })).toEqual({ ...none, missing: [missing[5]] });
    // What nothing has learnt from costs nothing, and names no new version.
    const events: string[] = [];
    half.on(({ type }) => events.push(type));
    const { before, after } = await half.erase([project.idsIn(1, 0)[0]!]);
    expect(after).toEqual(before);
    expect(events).toEqual(['erased']);
    await half.close();
  });

  test('an erasure meanwhile ends it with a clear error', async () => {
    const busy = await project.open('busy', { device: device() });
    await busy.train();
    let erasure: Promise<unknown> | null = null;
    busy.on(({ type }) => {
      if (type === 'stage-started' && erasure === null) erasure = busy.erase([project.idsIn(1, 0)[0]!]);
    });
    await expect(busy.verify({ fromScratch: true })).rejects.toMatchObject({
      name: 'UnlearnerError',
      message: expect.stringMatching(/^[^\n]*erased[^\n]*$/),
    });
    await erasure;
    await busy.repair();
    expect((await busy.verify({ fromScratch: true })).identical).toBe(true);
    await busy.close();
  });

  test('a flipped bit is found, and nothing is served from it', async () => {
    const { weights, stage } = stageOf(1, 0, 1);
    const file = join(project.path('run'), 'adapters', `${weights}.safetensors`);
    const sound = await readFile(file);
    const flipped = Buffer.from(sound);
    flipped[sound.length - 10]! ^= 4;
    await writeFile(file, flipped);
    expect(await run.verify()).toEqual({ identical: false, compared: 12, differing: [stage], missing: [] });
    expect(await run.verify({ stage })).toMatchObject({ identical: false, differing: [stage] });
    await run.close();
    for (let attempt = 0; attempt < 2; attempt++)
      await expect(project.open('run', { device: device() })).rejects.toMatchObject({
        code: 'corrupt',
        message: expect.stringMatching(new RegExp(`^[^\\n]*${weights}[^\\n]*corrupt[^\\n]*$`)),
      });
    await writeFile(file, sound);
    run = await project.open('run', { device: device() });
    expect((await run.verify()).identical).toBe(true);
  });
});

describe('every record of a slice may be erased', () => {
  const cases: [string, [number, number][][]][] = [
    ['of one', [[[0, 1]]]],
    [
      'of the first in both shards',
      [
        [
          [0, 0],
          [1, 0],
        ],
      ],
    ],
    ['of one after another, up to the whole shard', [[[0, 0]], [[0, 1]], [[0, 2]]]],
  ];
  test.each(cases)('%s', async (_, erasures) => {
    await using project = await Project.make({ change: { budget: 3 } });
    await using run = await project.open('run', { device: device() });
    await run.train();
    for (const slices of erasures) {
      await run.erase(slices.flatMap(([shard, slice]) => project.idsIn(shard, slice)));
      await run.repair({ signal: AbortSignal.timeout(20_000) });
      const { missing, shards } = await run.status();
      expect(missing).toBe(0);
      for (const { sequences } of shards)
        for (const { stages } of sequences) expect(stages.every(({ active }) => active)).toBe(true);
    }
    // The way there does not matter, and nothing is served that has learnt from no record.
    await using once = await project.open('once', { device: device() });
    await once.erase(erasures.flat().flatMap(([shard, slice]) => project.idsIn(shard, slice)));
    await once.train();
    expectSame(await snapshotOf(run), await snapshotOf(once));
    for (const { servedDepth, servedSequence, sequences } of (await run.status()).shards)
      if (servedSequence !== null)
        expect(sequences[servedSequence]!.stages[servedDepth - 1]!.records).toBeGreaterThan(0);
  });
});
