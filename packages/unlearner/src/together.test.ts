import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedDevice } from './testing/device.ts';
import { Project } from './testing/project.ts';
import { expectOnlyActiveFiles, expectSame, snapshotOf } from './testing/snapshot.ts';
import type { UnlearnerEvent } from './types.ts';

const device = sharedDevice();
let project: Project;
let config: string;

beforeAll(async () => {
  project = await Project.make({
    change: { lora: { dropout: 0.1 }, training: { epochs: 2, clipNorm: 0.5 } },
  });
  config = await project.writeConfig('together.json', {
    training: { epochs: 2, clipNorm: 0.5, together: 3 },
  });
  await using run = await project.open('alone', { device: device() });
  await run.train();
});
afterAll(() => project[Symbol.asyncDispose]());

/** How many stages of what position were started before each first step. */
function groupsOf(events: readonly UnlearnerEvent[]): number[][] {
  const groups: number[][] = [];
  for (const [i, event] of events.entries()) {
    if (event.type !== 'stage-started') continue;
    if (events[i - 1]?.type !== 'stage-started') groups.push([]);
    groups.at(-1)!.push(event.position);
  }
  return groups;
}

describe('stages that are trained in one batch', () => {
  test('of other sequences and shards at one position, have the bytes that each has alone', async () => {
    await using run = await project.open('together', { device: device(), config });
    const events: UnlearnerEvent[] = [];
    run.on((event) => event.type.startsWith('st') && events.push(event));
    expect(await run.train()).toMatchObject({ trained: 12, superseded: 0 });
    expect(groupsOf(events)).toEqual([[0, 0, 0], [1, 1, 1], [2, 2, 2], [0], [1], [2]]);
    const steps = events.flatMap((event) => (event.type === 'step' ? [event.doneSteps] : []));
    expect(steps).toEqual(steps.map((_, i) => i + 1));
    await using alone = await project.open('alone', { device: device() });
    expectSame(await snapshotOf(run), await snapshotOf(alone));
  });

  test('an erasure stops those that learn from the record; the others are trained again', async () => {
    // A run goes on with other stages in one batch: none depends on it.
    await project.copy('alone', 'erased');
    await using run = await project.open('erased', { device: device(), config });
    await run.erase([project.idsIn(0, 0)[0]!, project.idsIn(1, 1)[0]!]);
    let erasure: Promise<unknown> | null = null;
    const superseded: number[] = [];
    run.on((event) => {
      if (event.type === 'stage-superseded') superseded.push(event.shard);
      if (event.type === 'step' && event.step === 2) erasure ??= run.erase([project.idsIn(0, 0)[1]!]);
    });
    await run.repair();
    await erasure;
    expect(superseded.length).toBeGreaterThan(0);
    expect(superseded.every((shard) => shard === 0)).toBe(true);
    await run.repair();
    await expectOnlyActiveFiles(project.path('erased'), run);
    // One after the other, from nothing.
    expect(await run.verify({ fromScratch: true })).toMatchObject({ identical: true, compared: 12 });
  });
});
