// Dry runs that measure what would be served after them, and how what is computed beside answers ends with an erasure.
import { Ensemble } from '@s3t/model';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { sharedDevice } from './testing/device.ts';
import { gate } from './testing/gate.ts';
import { Project } from './testing/project.ts';
import { refused } from './testing/refused.ts';
import type { Unlearner } from './unlearner.ts';

const device = sharedDevice();
const EVALUATED = { dryRun: true, evaluate: true };
let project: Project;
let config: string;
let run: Unlearner;

beforeAll(async () => {
  project = await Project.make({ change: { training: { epochs: 2 } } });
  config = await project.writeConfig('f1.json', { evaluation: { metric: 'f1' } });
  run = await project.open('run', { device: device(), config });
  await run.train();
  await run.close();
  for (const name of ['copy', 'trained']) await project.copy('run', name);
  run = await project.open('run', { device: device(), config });
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  await run.close();
  await project[Symbol.asyncDispose]();
});

describe('a dry run that evaluates', () => {
  test('tells to the bit what evaluating after the erasure tells, and changes nothing', async () => {
    const before = await run.status();
    const served = await run.evaluate();
    await using copy = await project.open('copy', { device: device(), config });
    // A stack becomes shorter; another sequence takes over; a shard serves nothing any more.
    const erasures = [
      [project.idsIn(0, 2)[0]!],
      [project.idsIn(1, 0)[0]!, project.idsIn(0, 2)[1]!],
      [0, 1].map((slice) => project.idsIn(0, slice)[2]!),
    ];
    for (const ids of erasures) {
      const planned = await copy.erase(ids, EVALUATED);
      const { deactivated, after } = await copy.erase(ids);
      expect(planned).toMatchObject({ deactivated, after, depths: copy.servedDepths });
      expect(planned.expected).toEqual(await copy.evaluate());
    }
    expect(copy.servedDepths[0]).toBe(0);
    await run.erase([project.idsIn(0, 0)[0]!], EVALUATED);
    expect(await run.status()).toEqual(before);
    expect(await run.evaluate()).toEqual(served);
  });

  test('says so where nothing would be served', async () => {
    const ids = [0, 1].flatMap((shard) => [0, 1, 2].map((slice) => project.idsIn(shard, slice)[0]!));
    expect(await run.erase(ids, EVALUATED)).toMatchObject({ dryRun: true, expected: null, depths: [0, 0] });
  });

  test('is refused where there is nothing to measure with, or it is no dry run', async () => {
    const [id] = project.idsIn(0, 0);
    await refused(run.erase([id!], { evaluate: true }), 'usage', 'evaluate: ', 'dry run');
    await refused(run.erase(['nobody'], EVALUATED), 'unknown-record', '"nobody"');
    const without = await project.writeConfig('without.json', {
      evaluation: { metric: 'f1' },
      data: { eval: undefined },
    });
    await using other = await project.open('without', { device: device(), config: without });
    await refused(other.erase([id!], EVALUATED), 'usage', 'evaluate: ', 'data.eval');
    expect(await other.erase([id!], { dryRun: true })).not.toHaveProperty('expected');
  });
});

test.each<[name: string, ask: (run: Unlearner) => Promise<unknown>]>([
  ['a dry run that evaluates', (busy) => busy.erase([project.idsIn(1, 1)[0]!], EVALUATED)],
  ['an audit of all stacks', (busy) => busy.stackConfidences([project.idsIn(1, 1)[0]!], 'all')],
])(
  '%s holds up no erasure, ends with one, and gives its weights back before they are destroyed',
  async (name, ask) => {
    await project.copy('trained', name);
    await using busy = await project.open(name, { device: device(), config });
    const { reached, release } = gate(Ensemble.prototype, 'forward', 'before');
    const dispose = vi.spyOn(Ensemble.prototype, 'dispose');
    const ended = refused(ask(busy), 'unavailable', 'meanwhile');
    await reached;
    expect(dispose).not.toHaveBeenCalled();
    let given = 0;
    busy.on(({ type }) => {
      if (type === 'version') given = dispose.mock.calls.length;
    });
    await busy.erase([project.idsIn(1, 2)[0]!]);
    release();
    await ended;
    // Its own, and then that which was served.
    expect(given).toBe(2);
    await ask(busy);
  },
);
