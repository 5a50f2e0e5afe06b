import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { philox } from '@s3t/engine';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Work, WorkChild } from './testing/child.ts';
import { sharedDevice } from './testing/device.ts';
import { Project } from './testing/project.ts';
import { expectOnlyActiveFiles, expectSame, type Snapshot, snapshotOf } from './testing/snapshot.ts';

/** Starting, killing and opening processes: slow on a busy machine. */
const PATIENCE = 600_000;
const KILLS_IN_TRAINING = 12;
const KILLS_IN_ERASING = 10;

const device = sharedDevice();
let project: Project;
let trained: Snapshot;
let erased: Snapshot;
/** How many lines the child prints in an uninterrupted training. */
let lines = 0;

const ids = () => [project.idsIn(0, 1)[0]!, project.idsIn(1, 0)[0]!];

beforeAll(async () => {
  project = await Project.make();
  await using run = await project.open('clean', { device: device() });
  run.on(() => lines++);
  await run.train();
  trained = await snapshotOf(run);
  await run.close();
  await project.copy('clean', 'trained');
  await using again = await project.open('clean', { device: device() });
  await again.erase(ids());
  erased = await snapshotOf(again);
}, PATIENCE);
afterAll(() => project[Symbol.asyncDispose]());

/** A random number below `bound`, the same in every run of the test. */
const below = (bound: number, draw: number) => philox([draw, 0, 0, 0], [20, 6])[0] % bound;

/** Starts the work and kills it: after so many lines, and so many milliseconds more. Returns what it had said. */
async function killed(work: Work, printed: number, milliseconds: number): Promise<WorkChild> {
  const child = new WorkChild();
  await child.said('ready');
  child.begin(work);
  await child.printed(printed);
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  await child.kill();
  return child;
}

test(
  `training that is killed ${KILLS_IN_TRAINING} times ends in the same bytes`,
  async () => {
    const run = project.path('killed');
    await cp(join(inject('template'), 'ledger'), join(run, 'ledger'), { recursive: true });
    const work: Work = { command: 'train', run, config: project.configFile };
    for (let i = 0; i < KILLS_IN_TRAINING; i++)
      // Early and late, between stages and within one: what is left to do gets less from kill to kill.
      await killed(work, 1 + below(Math.ceil(lines / 3), i), below(40, 100 + i));
    await using again = await project.open('killed', { device: device() });
    await again.train();
    expectSame(await snapshotOf(again), trained);
    await expectOnlyActiveFiles(run, again);
  },
  PATIENCE,
);

test(
  `an erasure that is killed at ${KILLS_IN_ERASING} moments is whole after the same request`,
  async () => {
    for (let i = 0; i < KILLS_IN_ERASING; i++) {
      const name = `erasing-${i}`;
      await project.copy('trained', name);
      const run = project.path(name);
      const work: Work = { command: 'erase', run, ids: ids(), idempotencyKey: 'once' };
      // `ready` and `opened` come first; then it erases, in some tens of milliseconds.
      const child = await killed(work, 3 + below(2, i), below(50, 200 + i));
      await using again = await project.open(name, { device: device() });
      const isWhole = (await again.status()).erased;
      if (child.line('acknowledged')) expect(isWhole).toBe(ids().length);
      expect([0, ids().length]).toContain(isWhole);
      const receipt = await again.erase(ids(), { idempotencyKey: 'once' });
      expect(receipt.records).toBe(ids().length);
      expect(await snapshotOf(again)).toEqual(erased);
      await expectOnlyActiveFiles(run, again);
    }
  },
  PATIENCE,
);
