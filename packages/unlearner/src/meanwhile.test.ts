import { stat } from 'node:fs/promises';
import { AdapterStore, Ledger } from '@s3t/ledger';
import { utf8, verifyReceipt } from '@s3t/ledger/log';
import { BasePass } from '@s3t/model';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { MemoryRows } from './row-store.ts';
import { stagesByManifest } from './testing/answers.ts';
import { sharedDevice } from './testing/device.ts';
import { gate } from './testing/gate.ts';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import {
  adapterFiles,
  expectOnlyActiveFiles,
  expectSame,
  type Snapshot,
  snapshotOf,
} from './testing/snapshot.ts';
import type { Prediction, UnlearnerEvent } from './types.ts';
import type { Unlearner } from './unlearner.ts';

const device = sharedDevice();
const CHANGE = { lora: { dropout: 0.1 }, training: { batchSize: 4 } };
let project: Project;
/** The one erased while something else goes on; it lies in the first slice of the second sequence of shard 0. */
let late: string;
/** Erased before, so that there is something to repair: nearly all of shard 0. */
let early: string;
let clean: Snapshot;
let cleanOfLate: Snapshot;

beforeAll(async () => {
  project = await Project.make({ change: CHANGE });
  late = project.idsIn(0, 1)[0]!;
  early = project.idsIn(0, 0)[0]!;
  await using run = await project.open('trained', { device: device() });
  await run.train();
  const without = async (ids: string[]) => {
    await project.writeTrain(project.records.filter(({ id }) => !ids.includes(id)));
    await using other = await project.open(`clean-${ids.length}`, { device: device() });
    await other.train();
    return await snapshotOf(other);
  };
  cleanOfLate = await without([late]);
  clean = await without([late, early]);
  await project.writeTrain(project.records);
});
afterAll(() => project[Symbol.asyncDispose]());
afterEach(() => vi.restoreAllMocks());

async function trained(name: string): Promise<Unlearner> {
  await project.copy('trained', name);
  return project.open(name, { device: device() });
}

/** The stages over a slice as they are planned now. */
async function stagesOver(run: Unlearner, shard: number, slice: number): Promise<Set<string>> {
  const { sequences } = (await run.status()).shards[shard]!;
  return new Set(
    sequences.flatMap(({ order, stages }) => stages.slice(order.indexOf(slice)).map(({ stage }) => stage)),
  );
}

describe('an erasure in the middle of a repair', () => {
  type Moment = (event: UnlearnerEvent) => boolean;
  const is =
    (type: UnlearnerEvent['type'], nth = 0): Moment =>
    (event) =>
      event.type === type && nth-- === 0;
  const moments: [string, Moment][] = [
    ['when it is announced', is('work-started')],
    ['when the first stage starts', is('stage-started')],
    ['at the first step', is('step')],
    ['at the fifth step', is('step', 4)],
    ['at the last step of a stage', (event) => event.type === 'step' && event.step === event.steps],
    ['when the first stage is published', is('stage-published')],
    ['when a later stage starts', is('stage-started', 2)],
    ['at a step of a later stage', is('step', 14)],
    ['when the next version is served', is('version')],
  ];
  test.each(moments)('%s', async (name, isNow) => {
    const folder = name.replaceAll(' ', '-');
    await using run = await trained(folder);
    await run.erase([early]);
    const spoilt = await stagesOver(run, 0, 1);
    const put = vi.spyOn(AdapterStore.prototype, 'put');
    let acknowledged = false;
    let putsBefore = 0;
    let erasure: Promise<unknown> | null = null;
    const published: string[] = [];
    run.on((event) => {
      if (event.type === 'stage-published' && acknowledged) published.push(event.stage);
      if (erasure || !isNow(event)) return;
      erasure = run.erase([late]).then(async (receipt) => {
        acknowledged = true;
        putsBefore = put.mock.results.length;
        for (const { stage } of receipt.deactivated) expect(spoilt).toContain(stage);
        // Nothing is left of it, not even for a moment.
        const { deactivated } = receipt;
        expect(deactivated.map(({ stage }) => stage)).toEqual([
          ...new Set(deactivated.map(({ stage }) => stage)),
        ]);
        return adapterFiles(project.path(folder));
      });
    });
    const { trained: count } = await run.repair();
    expect(erasure).not.toBeNull();
    await erasure;
    if ((await run.status()).missing > 0) await run.repair();
    expect(count).toBeGreaterThan(0);
    expect(published.filter((stage) => spoilt.has(stage))).toEqual([]);
    expectSame(await snapshotOf(run), clean);
    await expectOnlyActiveFiles(project.path(folder), run);
    // No bytes that learnt from the record were written after it was acknowledged to be gone.
    const kept = new Set(await adapterFiles(project.path(folder)));
    const written = await Promise.all(
      put.mock.results.slice(putsBefore).map(({ value }) => value as Promise<string>),
    );
    for (const digest of written) expect(kept).toContain(`${digest}.safetensors`);
  });

  test('of a record of another shard disturbs nothing', async () => {
    // A run goes on under another policy of repair: no stage depends on it.
    await project.copy('trained', 'other-shard');
    const config = await project.writeConfig('policy.json', { repair: { policy: 'batch', count: 2 } });
    await using run = await project.open('other-shard', { device: device(), config });
    expect(await run.repairStanding()).toMatchObject({ pending: 0, since: null, isDue: false, dueAt: null });
    // Of 3 layers, one a stage: what a file holds beside its header.
    const { layers, layerBytes, headBytes, secondsPerRecord } = await run.costs();
    const [file] = await adapterFiles(project.path('other-shard'));
    const { size } = await stat(project.path('other-shard', 'adapters', file!));
    expect(layers).toBe(3);
    expect(size - layerBytes - headBytes).toBeGreaterThan(0);
    expect(size - layerBytes - headBytes).toBeLessThan(1500);
    expect(secondsPerRecord.map((seconds) => seconds > 0)).toEqual([true, true, true]);
    const { erasure: first } = await run.erase([early]);
    expect(await run.repairStanding()).toMatchObject({ pending: 1, isDue: false, dueAt: null });
    const acknowledged = await run.log.receiptFile(first);
    const events: UnlearnerEvent['type'][] = [];
    let erasure: Promise<unknown> | null = null;
    run.on(({ type }) => {
      events.push(type);
      if (type === 'step') erasure ??= run.erase([project.idsIn(1, 2)[0]!]);
    });
    // Paused, it waits before its next step; it goes on where it was.
    let resume = Promise.withResolvers<void>();
    const turn = () => (events.filter((type) => type === 'step').length === 2 ? resume.promise : undefined);
    const repair = run.repair({ turn });
    await vi.waitFor(() => expect(erasure).not.toBeNull());
    await erasure;
    expect((await run.status()).repair).toMatchObject({ pending: 2, isDue: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(events.filter((type) => type === 'step')).toHaveLength(2);
    resume.resolve();
    await repair;
    expect(events).not.toContain('stage-superseded');
    expect(events.filter((type) => type === 'repaired')).toHaveLength(1);
    expect((await run.status()).missing).toBe(0);
    expect(await run.repairStanding()).toMatchObject({ pending: 0, isDue: false });
    // The receipt says so from now on: the same file whenever it is asked for.
    const repaired = (await run.log.receiptFile(first))!;
    const { valid, statement } = await verifyReceipt(utf8(repaired));
    expect(valid).toBe(true);
    expect(statement!.predicate.times.repaired).toBe((await run.receipt(first))!.repairedAt);
    const { version, manifest } = await run.status();
    expect(statement!.predicate.repaired).toEqual({ version, manifest: { sha256: manifest } });
    expect(repaired).not.toBe(acknowledged);
    expect(await run.log.receiptFile(first)).toBe(repaired);
    // Stopped while it is paused, work ends at once.
    resume = Promise.withResolvers();
    await run.erase([late]);
    const stop = new AbortController();
    const stopped = run.repair({ signal: stop.signal, turn: () => resume.promise });
    stop.abort(new Error('no more'));
    await expect(stopped).rejects.toThrow('no more');
    await run.repair();
    expect((await run.verify({ fromScratch: true })).identical).toBe(true);
  });

  test('of everything, over and over', async () => {
    await using run = await trained('over-and-over');
    const left = project.records.map(({ id }) => id);
    const ids = left.filter((_, i) => i % 5 === 0);
    await run.erase([ids[0]!]);
    const training = run.train();
    for (const id of ids.slice(1)) {
      await run.erase([id]);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await training;
    await run.repair();
    await project.writeTrain(project.records.filter(({ id }) => !ids.includes(id)));
    await using other = await project.open('without-many', { device: device() });
    await other.train();
    expectSame(await snapshotOf(run), await snapshotOf(other));
    await project.writeTrain(project.records);
  });
});

describe('an erasure while training', () => {
  test('looks for what is missing', async () => {
    await using run = await trained('looking');
    // The first stage to be repaired is one that the second erasure spoils too.
    await run.erase([project.idsIn(0, 1)[1]!]);
    // The plan is made; the ledger is slow to say which stages it holds.
    await run.status();
    const { reached, release } = gate(Ledger.prototype, 'activeStages', 'before');
    const repair = run.repair();
    await reached;
    await run.erase([late]);
    release();
    await repair;
    expect(await run.verify({ fromScratch: true })).toMatchObject({ identical: true, differing: [] });
  });

  test('makes its plan', async () => {
    await using run = await trained('planning');
    const { reached, release } = gate(Ledger.prototype, 'revisions');
    const repair = run.repair();
    await reached;
    await run.erase([late]);
    release();
    await repair;
    expect((await run.status()).missing).toBe(0);
    expectSame(await snapshotOf(run), cleanOfLate);
  });

  test('is told how the run stands', async () => {
    await using run = await trained('status');
    const { reached, release } = gate(Ledger.prototype, 'revisions');
    const status = run.status();
    await reached;
    await run.erase([late]);
    release();
    await status;
    const { missing } = await run.status();
    expect(missing).toBeGreaterThan(0);
    expect((await run.repair()).trained).toBe(missing);
    expectSame(await snapshotOf(run), cleanOfLate);
  });

  test('reads the data for the first time', async () => {
    await using run = await trained('reading');
    await run.erase([early]);
    const { reached, release } = gate(Ledger.prototype, 'erasedFilter');
    const repair = run.repair();
    await reached;
    await run.erase([late]); // it does not wait for the data
    release();
    await repair;
    expect((await run.status()).missing).toBe(0);
    expectSame(await snapshotOf(run), clean);
  });

  test('has read what a stage stands on', async () => {
    await using run = await trained('standing');
    await run.erase([project.idsIn(0, 1)[1]!]);
    const { promise: reached, resolve } = Promise.withResolvers<() => void>();
    const stop = run.on(({ type }) => {
      if (type !== 'stage-started') return;
      stop();
      const prefix = gate(Ledger.prototype, 'activeStages');
      void prefix.reached.then(() => resolve(prefix.release));
    });
    const repair = run.repair();
    const release = await reached;
    await run.erase([late]);
    release();
    expect((await repair).superseded).toBe(1);
    expect(await run.verify({ fromScratch: true })).toMatchObject({ identical: true, differing: [] });
  });

  test('computes what a stage starts from, of a record that the stage does not learn from', async () => {
    await using run = await trained('computing');
    await run.erase([early]);
    const { reached, release } = gate(BasePass.prototype, 'run', 'before');
    const write = vi.spyOn(MemoryRows.prototype, 'write');
    const superseded: string[] = [];
    run.on((event) => event.type === 'stage-superseded' && superseded.push(event.stage));
    const repair = run.repair();
    await reached;
    // The first stage that is missing learns from the first slice; what is kept is of all its shard.
    await run.erase([project.idsIn(0, 2)[0]!]);
    release();
    await vi.waitUntil(() => write.mock.calls.length > 0);
    const left = project.idsIn(0, 0).length + project.idsIn(0, 1).length + project.idsIn(0, 2).length - 2;
    expect(write).toHaveBeenCalledTimes(3 * left);
    expect(superseded).toEqual([]);
    await repair;
    expect((await run.status()).missing).toBe(0);
  });

  test('is about to store a stage', async () => {
    await using run = await trained('storing');
    await run.erase([project.idsIn(0, 1)[1]!]);
    let isAcknowledged = false;
    const { reached, release } = gate(AdapterStore.prototype, 'put', 'before');
    const repair = run.repair();
    await reached;
    const erasure = run.erase([late]).then(() => {
      isAcknowledged = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Its bytes are written first and then destroyed, or never written: not written after it was said they are gone.
    expect(isAcknowledged).toBe(false);
    release();
    await Promise.all([repair, erasure]);
    await run.repair();
    expect(await run.verify({ fromScratch: true })).toMatchObject({ identical: true, differing: [] });
    await expectOnlyActiveFiles(project.path('storing'), run);
  });

  test('and every answer meanwhile names exactly what it was made of', async () => {
    const run = await trained('answering');
    for (const method of ['version', 'activeStages'] as const) {
      const original = Ledger.prototype[method] as () => Promise<unknown>;
      // Slow answers of the database let everything else come between.
      vi.spyOn(Ledger.prototype, method).mockImplementation(async function (this: Ledger, ...args: []) {
        const result = await original.apply(this, args);
        await new Promise((resolve) => setTimeout(resolve, 8));
        return result as never;
      });
    }
    const seen: Prediction[] = [];
    let stop = false;
    const inputs = madeRecords(2, 5).map(imageOf);
    const client = async () => {
      while (!stop) seen.push(await run.predict(inputs));
    };
    const clients = Array.from({ length: 4 }, client);
    const ids = [
      project.idsIn(1, 2)[0]!,
      project.idsIn(0, 2)[0]!,
      project.idsIn(1, 2)[1]!,
      project.idsIn(0, 2)[1]!,
    ];
    const gone: string[] = [];
    const training = (async () => {
      while (!stop) {
        await run.train();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    for (const id of ids) {
      const before = seen.length;
      gone.push(...(await run.erase([id])).deactivated.map(({ stage }) => stage));
      const told = gone.length;
      await vi.waitUntil(() => seen.length > before + 20, { timeout: 30_000, interval: 1 });
      await vi.waitUntil(async () => (await run.status()).missing === 0, { timeout: 30_000 });
      for (const { stages } of seen.slice(-10))
        for (const stage of stages) expect(gone.slice(0, told)).not.toContain(stage);
    }
    stop = true;
    await Promise.all([training, ...clients]);
    vi.restoreAllMocks();
    await run.close();
    const made = await stagesByManifest(project.path('answering'));
    for (const { manifest, stages } of seen) expect(stages).toEqual(made.get(manifest));
    expect(new Set(seen.map(({ manifest }) => manifest)).size).toBeGreaterThan(4);
  });
});

describe('training that is stopped', () => {
  test.each([0, 1, 3, 7, 20])('after %i steps goes on to the same bytes', async (limit) => {
    await using run = await trained(`stop-${limit}`);
    await run.erase([early, late]);
    const abort = new AbortController();
    let steps = 0;
    run.on(({ type }) => {
      if (type === 'step' && ++steps === limit) abort.abort();
    });
    if (limit === 0) abort.abort();
    await expect(run.train({ signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(steps).toBe(limit);
    await run.train();
    expectSame(await snapshotOf(run), clean);
  });

  test('by a listener that throws is not stopped', async () => {
    await using run = await trained('throwing');
    await run.erase([early, late]);
    run.on(() => {
      throw new Error('a broken progress bar');
    });
    await run.repair();
    expectSame(await snapshotOf(run), clean);
  });

  test('by closing the run goes on when it is opened again', async () => {
    const run = await trained('closed');
    await run.erase([early, late]);
    let closing: Promise<void> | null = null;
    run.on(({ type }) => {
      if (type === 'step') closing ??= run.close();
    });
    await expect(run.train()).rejects.toMatchObject({
      name: 'UnlearnerError',
      message: expect.stringMatching(/^[^\n]*closed[^\n]*$/),
    });
    await closing;
    await expect(run.status()).rejects.toMatchObject({ name: 'UnlearnerError' });
    await using again = await project.open('closed', { device: device() });
    await again.train();
    expectSame(await snapshotOf(again), clean);
  });

  test('two calls at once train every stage once', async () => {
    await using run = await trained('twice');
    await run.erase([early, late]);
    const { missing } = await run.status();
    const started: string[] = [];
    run.on((event) => event.type === 'stage-started' && started.push(event.stage));
    const [first, second] = await Promise.all([run.train(), run.repair()]);
    expect([first.trained, second.trained]).toEqual([missing, 0]);
    expect(new Set(started).size).toBe(started.length);
    expectSame(await snapshotOf(run), clean);
  });
});
