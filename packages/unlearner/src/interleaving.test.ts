// Predictions, erasures and publications of a repair in orders that a seed decides, through the real switch: erasing, serving, answering,
// right of way. Ledger and device are stand-ins whose every step takes until the simulated clock gets to it.
import type { ActiveStage, Erased } from '@s3t/ledger';
import type { Ensemble } from '@s3t/model';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Erasing, type ErasingParts } from './erasing.ts';
import { Mutex } from './mutex.ts';
import { forward } from './predict.ts';
import { RightOfWay } from './right-of-way.ts';
import { Serving } from './serving.ts';

const SEEDS = 10_000;
const SHARDS = 3;
/** Of the first two shards in turn: the third is served all the time. */
const ERASURES = 4;
const ERASED_SHARDS = 2;

/** Mulberry32: numbers from 0 to 1. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What waits goes on one after the other, in an order that `random` decides. */
class Clock {
  #waiting: (() => void)[] = [];
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  sleep(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  schedule(work: () => void): number {
    this.#waiting.push(work);
    return 0;
  }

  /** Until nothing waits. */
  async run(): Promise<void> {
    for (;;) {
      // Every microtask that is ready comes before this.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#waiting.length === 0) return;
      const [next] = this.#waiting.splice(Math.floor(this.#random() * this.#waiting.length), 1);
      next!();
    }
  }
}

/** One stage a shard, named by its shard and how often records of it were erased. */
class FakeLedger {
  readonly #clock: Clock;
  readonly #revisions: number[] = new Array<number>(SHARDS).fill(0);
  active: ActiveStage[] = [];
  #version = 0;
  #count = 0;
  readonly adapters: { destroyAll: () => Promise<void> };

  constructor(clock: Clock) {
    this.#clock = clock;
    this.adapters = { destroyAll: () => clock.sleep() };
    for (let shard = 0; shard < SHARDS; shard++) this.active.push(this.wanted(shard));
  }

  wanted(shard: number): ActiveStage {
    const stage = { id: `${shard}/${this.#revisions[shard]}`, shard, position: 0, sequences: [0] };
    return { ...stage, parent: null, records: 1, weights: 'w', slices: [0] } as unknown as ActiveStage;
  }

  version = async () => {
    await this.#clock.sleep();
    return { version: this.#version, manifest: String(this.#version) };
  };

  activeStages = async () => {
    await this.#clock.sleep();
    return this.active;
  };

  commitment = async (key: string) => key;

  acknowledge = () => this.#clock.sleep();

  journal = () => this.#clock.sleep();

  /** Of a record `shard/number`, whichever key that has. */
  erase = async (): Promise<Erased & { gone: []; active: ActiveStage[] }> => {
    await this.#clock.sleep();
    const shard = this.#count % ERASED_SHARDS;
    const before = { version: this.#version, manifest: String(this.#version) };
    const hit = this.active.filter((stage) => stage.shard === shard);
    this.active = this.active.filter((stage) => stage.shard !== shard);
    this.#revisions[shard]!++;
    this.#version++;
    const after = { version: this.#version, manifest: String(this.#version) };
    const deactivated = hit.map(({ id, ...stage }) => ({ ...stage, stage: id }));
    return {
      ...{ erasure: `e${this.#count++}`, records: 1, commitments: [], deactivated, before, after },
      ...{ repeated: false, dryRun: false, gone: [], active: this.active },
    };
  };

  /** Refuses what an erasure has overtaken, as the real one does by its revisions. */
  async publish(stage: ActiveStage): Promise<boolean> {
    await this.#clock.sleep();
    if (this.wanted(stage.shard).id !== stage.id) return false;
    if (this.active.some(({ id }) => id === stage.id)) return false;
    this.active = [...this.active, stage];
    this.#version++;
    return true;
  }
}

/** Serves without weights: a forward pass takes its time, and computes nothing. */
class FakeServing extends Serving {
  readonly #clock: Clock;
  readonly #onPass: () => void;

  constructor(clock: Clock, onPass: () => void) {
    super({ run: { sequences: [[0]], shards: SHARDS } } as unknown as ConstructorParameters<
      typeof Serving
    >[0]);
    this.#clock = clock;
    this.#onPass = onPass;
  }

  override place(_active: unknown): Promise<void> {
    return this.#clock.sleep();
  }

  override ensembleOf(_stacks: unknown): Ensemble {
    const compute = async () => {
      this.#onPass();
      await this.#clock.sleep();
      return [new Float32Array(1)];
    };
    return { largestBatch: 16, dispose: () => {}, forward: compute } as unknown as Ensemble;
  }
}

interface Outcome {
  answers: number;
  /** Forward passes, those included whose result was thrown away. */
  passes: number;
  published: number;
  superseded: number;
}

async function interleave(seed: number): Promise<Outcome> {
  const random = randomOf(seed);
  const clock = new Clock(random);
  now = clock;
  const ledger = new FakeLedger(clock);
  const [changes, erasures] = [new Mutex(), new RightOfWay()];
  const found: Outcome = { answers: 0, passes: 0, published: 0, superseded: 0 };
  const serving = new FakeServing(clock, () => found.passes++);
  let version = -1;
  const refresh: ErasingParts['refresh'] = async (now) => {
    const active = now?.active ?? (await ledger.activeStages());
    const next = now?.version ?? (await ledger.version());
    await serving.place(active);
    serving.switchTo(active, next);
    // Versions only grow, and what is served is what the ledger says.
    expect(next.version).toBeGreaterThan(version);
    version = next.version;
    expect(serving.served?.stages.toSorted() ?? []).toEqual(ledger.active.map(({ id }) => id).sort());
  };
  const opened = {
    ...{ ledger, device: { idle: () => clock.sleep(), adapterClass: 'software', adapterName: 'fake' } },
    ...{ located: { config: { data: {} } }, setting: { kernels: 'k' } },
    run: { id: 'run', base: 'b', settingDigest: 's' },
  } as unknown as ErasingParts['opened'];
  const copies = { drop: async () => {} } as ErasingParts['staged'] & ErasingParts['exporting'];
  const erasing = new Erasing({
    ...{ opened, erasures, changes, refresh, staged: copies, exporting: copies },
    expecting: {} as ErasingParts['expecting'],
    unpublished: { sweepLeft: async () => {} } as ErasingParts['unpublished'],
    forget: () => false,
    forgetCommitted: async () => {},
    stopped: async () => {},
    emit: () => {},
  });
  const dead = new Set<string>();
  const predict = async () => {
    const base = { network: { architecture: { inputs: [] } }, lengthOf: () => 1 };
    const parts = { serving, erasures, base } as unknown as Parameters<typeof forward>[0];
    const served = await forward(parts, {}, 1).then(
      (answer) => answer.served,
      (error) => void expect(error.code).toBe('unavailable'),
    );
    if (!served) return;
    found.answers++;
    // It leaves now: nothing that was acknowledged as erased may have computed it.
    for (const stage of served.stages) expect(dead.has(stage), `seed ${seed}: ${stage}`).toBe(false);
  };
  const erase = async (number: number) => {
    const receipt = await erasing.erase({ records: [`r${number}`] }, { receivedAt: 0 });
    for (const { stage } of receipt.deactivated) dead.add(stage);
  };
  const repair = async (shard: number) => {
    const stage = ledger.wanted(shard);
    if (ledger.active.some(({ id }) => id === stage.id)) return;
    await erasures.clear();
    await clock.sleep();
    await changes.run(async () => {
      const isPublished = await ledger.publish(stage);
      if (isPublished) await refresh();
      found[isPublished ? 'published' : 'superseded']++;
    });
    for (const { id } of ledger.active) expect(dead.has(id), `seed ${seed}: ${id}`).toBe(false);
  };
  const later = async (work: () => Promise<void>) => {
    for (let steps = Math.floor(random() * 12); steps > 0; steps--) await clock.sleep();
    await work();
  };
  const starting = changes.run(refresh);
  await clock.run();
  await starting;
  const works: Promise<void>[] = Array.from({ length: 4 }, () => later(predict));
  for (let number = 0; number < ERASURES; number++) {
    works.push(later(() => erase(number)));
    works.push(later(() => repair(number % ERASED_SHARDS)));
  }
  const all = Promise.all(works);
  all.catch(() => {});
  await clock.run();
  await all;
  return found;
}

let now: Clock;
beforeEach(() => {
  // No erasure takes half a second here: of the right of way's timers only those that are due at once are.
  vi.stubGlobal('setTimeout', (work: () => void, ms = 0) => (ms === 0 ? now.schedule(work) : 0));
  vi.stubGlobal('clearTimeout', () => {});
});
afterEach(() => vi.unstubAllGlobals());

test('in 10,000 orders, no answer of an erased stage leaves after the acknowledgement, and none is published again', async () => {
  const total: Outcome = { answers: 0, passes: 0, published: 0, superseded: 0 };
  for (let seed = 0; seed < SEEDS; seed++) {
    const found = await interleave(seed);
    for (const name of Object.keys(total) as (keyof Outcome)[]) total[name] += found[name];
  }
  // Every way to go was gone.
  expect(total.answers).toBeGreaterThan(SEEDS);
  expect(total.passes).toBeGreaterThan(total.answers);
  expect(total.published).toBeGreaterThan(SEEDS / 10);
  expect(total.superseded).toBeGreaterThan(SEEDS / 20);
}, 120_000);
