import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { philox } from '@s3t/engine';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Work, WorkChild } from './testing/child.ts';
import { sharedDevice } from './testing/device.ts';
import { Project } from './testing/project.ts';
import { expectOnlyActiveFiles, expectSame, type Snapshot, snapshotOf } from './testing/snapshot.ts';
import { copyFolder } from './testing/temporary.ts';
import type { Receipt } from './types.ts';

/** Starting, killing and opening processes: slow on a busy machine. */
const PATIENCE = 600_000;
const KILLS_WHILE_CREATING = 2;
const KILLS_IN_TRAINING = 9;
const KILLS_IN_ERASING = 10;

const device = sharedDevice();
let project: Project;
let trained: Snapshot;
let erased: Snapshot;
let victims: string[];

beforeAll(async () => {
  project = await Project.make();
  // One record after the other, from every slice of both shards in turn.
  victims = Array.from(
    { length: KILLS_IN_ERASING },
    (_, i) => project.idsIn(i % 2, i % 3)[Math.floor(i / 6)]!,
  );
  await using run = await project.open('clean', { device: device() });
  await run.train();
  trained = await snapshotOf(run);
  await run.erase(victims);
  await run.repair();
  erased = await snapshotOf(run);
}, PATIENCE);
afterAll(() => project[Symbol.asyncDispose]());

/** A random number below `bound`, the same in every run of the test. */
const below = (bound: number, draw: number) => philox([draw, 0, 0, 0], [20, 6])[0] % bound;

/** Children that load while the one before works. */
let spare = new WorkChild();
afterAll(() => spare.kill());

/** Starts the work and kills it: after so many lines from `ready` on, and so many milliseconds more. */
async function killed(work: Work, lines: number, milliseconds: number): Promise<WorkChild> {
  const child = spare;
  await child.said('ready');
  spare = new WorkChild();
  child.begin(work);
  await child.printed(1 + lines);
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  await child.kill();
  expect(child.line('failed')).toBeUndefined();
  return child;
}

/** What a finished and closed run folder holds: no lock, nothing temporary. */
async function expectTidy(name: string, ...more: string[]): Promise<void> {
  const expected = ['adapters', ...more, 'ledger', 'run.json'];
  expect((await readdir(project.path(name))).sort()).toEqual(expected);
}

test(
  'training that is killed, from the creation of the run on, ends in the same bytes',
  async () => {
    const work: Work = { command: 'train', run: project.path('killed'), config: project.configFile };
    for (let i = 0; i < KILLS_WHILE_CREATING; i++) await killed(work, 0, 100 + below(2500, i));
    let unfinished = 0;
    for (let i = 0; i < KILLS_IN_TRAINING; i++) {
      // Some events and some milliseconds in: before a step, within one, while a stage is stored, between two.
      const child = await killed(work, 2 + below(7, 10 + i), below(25, 20 + i));
      if (child.line('opened') && !child.line('done')) unfinished++;
    }
    expect(unfinished).toBeGreaterThan(KILLS_IN_TRAINING / 2);
    const run = await project.open('killed', { device: device() });
    await run.train();
    expectSame(await snapshotOf(run), trained);
    expect((await run.verify()).identical).toBe(true);
    await expectOnlyActiveFiles(project.path('killed'), run);
    await run.close();
    await expectTidy('killed');
  },
  PATIENCE,
);

test(
  'an erasure that is killed is whole after the same request, and what was acknowledged stays',
  async () => {
    const told: Receipt[] = [];
    const found = new Set<string>();
    for (const [i, id] of victims.entries()) {
      const request = { ids: [id], idempotencyKey: `request-${i}` };
      // It has opened the run and erases: some tens of milliseconds in which it may be killed.
      const lines = ['opened', 'version', 'erased'].indexOf(['opened', 'opened', 'version'][i % 3]!) + 1;
      const child = await killed(
        { command: 'erase', run: project.path('killed'), ...request },
        lines,
        below(i % 3 === 2 ? 6 : 24, 40 + i),
      );
      const receipt = child.line('acknowledged')?.receipt as Receipt | undefined;
      const run = await project.open('killed', { device: device() });
      // Opening finishes what was begun: all of the erasure is there, or nothing.
      const { erased: count } = await run.status();
      expect([i, i + 1]).toContain(count);
      if (receipt) {
        expect(count).toBe(i + 1);
        told.push(receipt);
      }
      found.add(receipt ? 'acknowledged' : count > i ? 'begun' : 'nothing');
      await expectOnlyActiveFiles(project.path('killed'), run);
      const answer = await run.erase(request.ids, request);
      expect(answer.repeated ?? false).toBe(count > i);
      expect(answer.records).toBe(1);
      for (const { repeated: _, ...before } of told)
        expect(await run.receipt(before.erasure)).toMatchObject(before);
      // Every third time it is repaired, so that there is more to erase.
      if (i % 3 === 2) await run.repair();
      await run.close();
    }
    expect(found.size).toBeGreaterThan(1);
    copyFolder(project.path('killed', 'ledger'), project.path('yesterday'));
    const run = await project.open('killed', { device: device() });
    await run.repair();
    expectSame(await snapshotOf(run), erased);
    expect((await run.verify()).identical).toBe(true);
    await expectOnlyActiveFiles(project.path('killed'), run);
    // Erased after the backup was made, on both sides of a repair.
    const [one, other] = project.idsIn(0, 0).slice(-2) as [string, string];
    const receipts = [await run.erase([one]), await run.repair(), await run.erase([other])];
    const before = await run.status();
    await run.close();
    await expectTidy('killed', 'erasures.journal');
    const journal = project.path('killed', 'erasures.journal');
    expect((await readFile(journal, 'utf8')).trim().split('\n')).toHaveLength(victims.length + 2);
    await restore('yesterday');
    await writeFile(project.path('killed', `signing-key.pem.${crypto.randomUUID()}.tmp`), 'half a key');
    const restored = await project.open('killed', { device: device() });
    const { erased: count, records } = await restored.status();
    expect([count, records]).toEqual([before.erased, before.records]);
    for (const receipt of [receipts[0], receipts[2]] as Receipt[]) {
      const again = await restored.receipt(receipt.erasure);
      expect(again).toMatchObject({ erasure: receipt.erasure, records: 1, receivedAt: receipt.receivedAt });
    }
    await expectOnlyActiveFiles(project.path('killed'), restored);
    await expect(restored.erase([one])).rejects.toThrow('are erased before');
    await restored.close();
    await expectTidy('killed', 'erasures.journal');
  },
  PATIENCE,
);

/** Puts a copy of the ledger back: what was erased since is in the journal alone. */
async function restore(backup: string): Promise<void> {
  await rm(project.path('killed', 'ledger'), { recursive: true });
  copyFolder(project.path(backup), project.path('killed', 'ledger'));
}
