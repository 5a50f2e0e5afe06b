import { AdapterStore, Ledger } from '@s3t/ledger';
import { Ensemble } from '@s3t/model';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { plainAnswers, stagesByManifest } from './testing/answers.ts';
import { sharedDevice } from './testing/device.ts';
import { gate } from './testing/gate.ts';
import { imageOf, madeRecord, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import { expectOnlyActiveFiles } from './testing/snapshot.ts';
import type { Input, Prediction } from './types.ts';
import type { Unlearner } from './unlearner.ts';

const device = sharedDevice();
const inputs: Input[] = madeRecords(70, 31).map(imageOf);
let project: Project;

/** A closed run that was trained: tests work on copies of it. */
beforeAll(async () => {
  project = await Project.make();
  const run = await project.open('trained', { device: device() });
  await run.train();
  await run.close();
});
afterAll(() => project[Symbol.asyncDispose]());
afterEach(() => vi.restoreAllMocks());

async function trained(name: string): Promise<Unlearner> {
  await project.copy('trained', name);
  return project.open(name, { device: device() });
}

describe('answers', () => {
  test('are the softmax of the mean of the shards, each computed by itself', async () => {
    await using run = await trained('plain');
    // Shard 1 serves less than shard 0: the trunk, a shard's own stream and a bare one all take part.
    await run.erase([project.idsIn(1, 1)[0]!]);
    const status = await run.status();
    expect(status.shards.map(({ servedDepth }) => servedDepth)).toEqual([3, 1]);
    const asked = inputs.slice(0, 6);
    const expected = await plainAnswers(project, 'plain', status, run.config, device(), asked);
    const { answers, manifest, version } = await run.predict(asked);
    expect(answers).toEqual(expected);
    expect({ manifest, version }).toEqual({ manifest: status.manifest, version: status.version });
    expect(new Set(answers.map(([best]) => best!.label)).size).toBeGreaterThan(1);
  });

  test('give way to an erasure, and come from what it leaves', async () => {
    await using run = await trained('gives-way');
    const before = (await run.status()).version;
    // One pass at a time: all but the first still wait when the erasure begins.
    const asked = Array.from({ length: 4 }, () => run.predict(inputs.slice(0, 2)));
    await null;
    const { after } = await run.erase([project.idsIn(0, 0)[0]!]);
    const answers = await Promise.all(asked);
    expect(after.version).toBeGreaterThan(before);
    expect(answers.slice(1).map(({ version }) => version)).toEqual(Array(3).fill(after.version));
    expect(answers[3]).toEqual(await run.predict(inputs.slice(0, 2)));
  });

  test('have scores from best to worst that sum to one', async () => {
    await using run = await trained('scores');
    for (const answer of (await run.predict(inputs)).answers) {
      expect(answer.map(({ label }) => label).sort()).toEqual([...run.labels].sort());
      expect(answer.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12);
      expect(answer.map(({ score }) => score)).toEqual(
        answer.map(({ score }) => score).toSorted((a, b) => b - a),
      );
    }
  });

  test.each([1, 2, 5, 9, 64, 70])('do not depend on the company: in a batch of %i', async (size) => {
    await using run = await trained(`batch-${size}`);
    const alone = (await run.predict([inputs[3]!])).answers[0];
    for (const at of new Set([0, Math.floor(size / 2), size - 1])) {
      const batch = inputs.slice(0, size).with(at, inputs[3]!);
      expect((await run.predict(batch)).answers[at]).toEqual(alone);
    }
  });

  test('do not depend on what else is asked at the same time', async () => {
    await using run = await trained('crowd');
    const one = await Promise.all(inputs.map((input) => run.predict([input])));
    const all = await run.predict(inputs);
    expect(one.map(({ answers }) => answers[0])).toEqual(all.answers);
  });

  test('survive reopening', async () => {
    const run = await trained('reopened');
    const before = await run.predict(inputs.slice(0, 3));
    await run.close();
    await using again = await project.open('reopened', { device: device() });
    expect(await again.predict(inputs.slice(0, 3))).toEqual(before);
  });
});

describe('a wider base, whose products are cut in other ways', () => {
  let wide: Project;
  let run: Unlearner;
  beforeAll(async () => {
    wide = await Project.make({
      base: {
        hidden_size: 128,
        num_hidden_layers: 4,
        intermediate_size: 256,
        num_attention_heads: 4,
        patch_size: 2,
      },
      change: { budget: 1, slices: 2, lora: { rank: 8 } },
      records: madeRecords(24),
    });
    run = await wide.open('run', { device: device() });
    await run.train();
    await run.erase([wide.idsIn(0, 1)[0]!]);
  });
  afterAll(async () => {
    await run.close();
    await wide[Symbol.asyncDispose]();
  });

  test('answers as its shards do', async () => {
    const status = await run.status();
    expect(status.shards.map(({ servedDepth }) => servedDepth)).toEqual([1, 2]);
    const asked = inputs.slice(0, 3);
    const expected = await plainAnswers(wide, 'run', status, run.config, device(), asked);
    expect((await run.predict(asked)).answers).toEqual(expected);
  });

  test('whatever the batch', async () => {
    const alone = (await run.predict([inputs[3]!])).answers[0];
    for (const size of [2, 8, 33, 64])
      expect((await run.predict(inputs.slice(0, size).with(size - 1, inputs[3]!))).answers[size - 1]).toEqual(
        alone,
      );
  });
});

describe('no answer after an erasure was acknowledged comes from what it deactivated', () => {
  test('with hundreds of predictions in flight', async () => {
    await using run = await trained('flight');
    const gone = new Set<string>();
    const wrong: string[] = [];
    const seen: Prediction[] = [];
    let stop = false;
    let late = 0;
    const client = async (number: number) => {
      while (!stop) {
        const size = [1, 1, 3, 20][number % 4]!;
        const prediction = await run.predict(inputs.slice(0, size));
        seen.push(prediction);
        for (const stage of prediction.stages) if (gone.has(stage)) wrong.push(stage);
        if (gone.size > 0) late++;
      }
    };
    const clients = Array.from({ length: 100 }, (_, number) => client(number));
    const targets = [
      project.idsIn(0, 2)[0]!,
      project.idsIn(1, 2)[0]!,
      project.idsIn(0, 1)[0]!,
      project.idsIn(1, 1)[0]!,
    ];
    const answered = (count: number) =>
      vi.waitUntil(() => seen.length >= count, { timeout: 30_000, interval: 1 });
    for (const id of targets) {
      await answered(seen.length + 100);
      const { deactivated, after } = await run.erase([id]);
      for (const { stage } of deactivated) gone.add(stage);
      expect(run.servedVersion).toBe(after.version);
    }
    await answered(seen.length + 100);
    stop = true;
    await Promise.all(clients);
    expect(wrong).toEqual([]);
    expect(late).toBeGreaterThan(300);
    expect(new Set(seen.map(({ version }) => version)).size).toBeGreaterThan(3);
    await run.close();
    // Each answer was computed with what its manifest lists, whole.
    const made = await stagesByManifest(project.path('flight'));
    for (const { manifest, stages } of seen) expect(stages).toEqual(made.get(manifest));
  });

  test('one that was computed before and is told after is computed again', async () => {
    await using run = await trained('held-back');
    const { reached, release } = gate(Ensemble.prototype, 'forward');
    const prediction = run.predict(inputs.slice(0, 2));
    await reached;
    const { deactivated, after } = await run.erase([project.idsIn(0, 0)[0]!]);
    release();
    const { stages, version, manifest, answers } = await prediction;
    expect({ version, manifest }).toEqual(after);
    for (const { stage } of deactivated) expect(stages).not.toContain(stage);
    expect(answers).toEqual((await run.predict(inputs.slice(0, 2))).answers);
  });

  test('a batch of several parts comes from one ensemble', async () => {
    await using run = await trained('parts');
    const { reached, release } = gate(Ensemble.prototype, 'forward');
    const prediction = run.predict(inputs); // 64 and 6
    await reached;
    const { after } = await run.erase([project.idsIn(1, 0)[0]!]);
    release();
    expect((await prediction).version).toBe(after.version);
    expect((await prediction).answers).toHaveLength(70);
  });

  test('evaluation included', async () => {
    await using run = await trained('evaluation');
    const { reached, release } = gate(Ensemble.prototype, 'forward');
    const evaluation = run.evaluate();
    await reached;
    const { after } = await run.erase([project.idsIn(1, 0)[0]!]);
    release();
    expect((await evaluation).version).toBe(after.version);
  });

  test('the next answer names the next version, and the ledger says the same', async () => {
    await using run = await trained('next');
    const before = await run.predict(inputs.slice(0, 1));
    const receipt = await run.erase([project.idsIn(0, 0)[1]!, project.idsIn(1, 1)[1]!]);
    expect(receipt.before).toEqual({ version: before.version, manifest: before.manifest });
    const { version, manifest } = await run.predict(inputs.slice(0, 1));
    expect(receipt.after).toEqual({ version, manifest });
    expect(receipt.after.version).toBe(receipt.before.version + 1);
    expect(await run.receipt(receipt.erasure)).toEqual(receipt);
    await expectOnlyActiveFiles(project.path('next'), run);
  });
});

test('an erasure goes before the predictions that come after it', async () => {
  await using run = await trained('first');
  const forward = vi.spyOn(Ensemble.prototype, 'forward');
  const { reached, release } = gate(Ledger.prototype, 'erase', 'before');
  const erasing = run.erase([project.idsIn(0, 0)[0]!]);
  await reached;
  const predicting = run.predict([inputs[0]!]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(forward).not.toHaveBeenCalled();
  release();
  const { after } = await erasing;
  expect((await predicting).version).toBe(after.version);
  expect(forward).toHaveBeenCalledTimes(1);
});

test('a rehearsed erasure changes nothing', async () => {
  await using run = await trained('rehearsed');
  const before = await run.status();
  await run.rehearse();
  expect(await run.status()).toEqual(before);
  expect((await run.verify()).identical).toBe(true);
});

describe('when every first slice was hit', () => {
  test('nothing is served until it is repaired', async () => {
    await using run = await trained('nothing');
    await run.erase([0, 1].flatMap((shard) => [0, 1].map((slice) => project.idsIn(shard, slice)[0]!)));
    const status = await run.status();
    expect(status.shards.map(({ servedDepth, servedSequence }) => [servedDepth, servedSequence])).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(run.servedVersion).toBeNull();
    const unavailable = {
      name: 'UnlearnerError',
      code: 'unavailable',
      message: expect.stringMatching(/^[^\n]+$/),
    };
    await expect(run.predict(inputs.slice(0, 1))).rejects.toMatchObject(unavailable);
    await expect(run.evaluate()).rejects.toMatchObject(unavailable);
    await run.repair({ shards: [1] });
    expect((await run.predict(inputs.slice(0, 1))).answers).toHaveLength(1);
    await run.repair();
    expect((await run.status()).shards.map(({ servedDepth }) => servedDepth)).toEqual([3, 3]);
  });

  test('a prediction that was in flight gets the same refusal', async () => {
    await using run = await trained('nothing-in-flight');
    const { reached, release } = gate(Ensemble.prototype, 'forward');
    const prediction = run.predict(inputs.slice(0, 1)).catch((error) => error);
    await reached;
    await run.erase([0, 1].flatMap((shard) => [0, 1].map((slice) => project.idsIn(shard, slice)[0]!)));
    release();
    expect(await prediction).toMatchObject({ code: 'unavailable' });
  });

  test('a shard that learnt from no record does not vote', async () => {
    await using run = await trained('no-records');
    await run.erase(project.records.map(({ id }) => id));
    await run.repair();
    expect(await run.status()).toMatchObject({ records: 0, erased: project.records.length });
    await expect(run.predict(inputs.slice(0, 1))).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('an erasure that cannot be finished', () => {
  test('serves nothing of what it deactivated, and the same request finishes it', async () => {
    await using run = await trained('stuck');
    const id = project.idsIn(0, 0)[0]!;
    const before = await run.predict(inputs.slice(0, 1));
    vi.spyOn(AdapterStore.prototype, 'destroyAll').mockRejectedValueOnce(new Error('EPERM: not permitted'));
    await expect(run.erase([id], { idempotencyKey: 'one' })).rejects.toThrow('EPERM');
    const { stages } = await run.predict(inputs.slice(0, 1));
    const first = (await run.status()).shards[0]!.sequences[0]!;
    expect(first.stages.every(({ active }) => !active)).toBe(true);
    expect(stages).not.toEqual(before.stages);
    const receipt = await run.erase([id], { idempotencyKey: 'one' });
    expect(receipt).toMatchObject({ records: 1, repeated: true });
    expect(receipt.deactivated.length).toBeGreaterThan(3);
    expect(Date.parse(receipt.acknowledgedAt)).toBeGreaterThanOrEqual(Date.parse(receipt.receivedAt));
    await expectOnlyActiveFiles(project.path('stuck'), run);
    const { repeated: _, ...told } = receipt;
    expect(await run.receipt(receipt.erasure)).toEqual(told);
    const again = await run.erase([id], { idempotencyKey: 'one' });
    expect(again).toEqual(receipt);
  });

  test('stops serving when it cannot tell what may still be served', async () => {
    await using run = await trained('blind');
    vi.spyOn(Ledger.prototype, 'acknowledge').mockRejectedValueOnce(new Error('the disk is full'));
    await expect(run.erase([project.idsIn(0, 0)[0]!])).rejects.toThrow('the disk is full');
    vi.spyOn(Ledger.prototype, 'activeStages').mockRejectedValueOnce(new Error('the disk is gone'));
    await expect(run.erase([project.idsIn(1, 2)[0]!])).rejects.toThrow('the disk is gone');
    await expect(run.predict(inputs.slice(0, 1))).rejects.toMatchObject({ code: 'unavailable' });
    // Once it can, the next erasure finishes that one too, and serving goes on.
    const next = await run.erase([project.idsIn(1, 2)[0]!]);
    expect((await run.predict(inputs.slice(0, 1))).version).toBe(next.after.version);
    await expectOnlyActiveFiles(project.path('blind'), run);
  });
});

test('inputs that are not pictures are refused by name', async () => {
  await using run = await trained('inputs');
  const image = imageOf(madeRecord(0)).image;
  const cases: [unknown[], RegExp][] = [
    [[], /^inputs: /],
    [[{ image }, { text: { sentence: 'hello' } }], /^inputs\.1/],
    [[{ image: { ...image, width: 9 } }], /^inputs\.0\.image/],
    [[{ image: { ...image, pixels: image.pixels.subarray(1) } }], /^inputs\.0\.image\.pixels/],
    [[{ image: { ...image, channels: 4 } }], /^inputs\.0\.image\.channels/],
    [[{ image: { ...image, width: 0, height: 0, pixels: new Uint8Array() } }], /^inputs\.0\.image/],
    [[{ image: { ...image, height: 1.5 } }], /^inputs\.0\.image/],
    [[{ image: { ...image, pixels: [...image.pixels] } }], /^inputs\.0\.image\.pixels/],
    [[{ image: null }], /^inputs\.0/],
    [[null], /^inputs\.0/],
  ];
  for (const [bad, message] of cases)
    await expect(run.predict(bad as Input[])).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringMatching(message),
    });
  // Any size is resized; grey and colour both serve.
  const colour = { width: 3, height: 20, channels: 3 as const, pixels: new Uint8Array(180).fill(9) };
  expect((await run.predict([{ image: colour }])).answers).toHaveLength(1);
});
