import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deletionRate, expectedRetrainings, selectSequences } from '@s3t/algorithm';
import type { ExperimentResult } from '@s3t/laboratory';
import { expect, test, vi } from 'vitest';
import { run } from '../run.ts';
import { deletionTimeChart, type Figures, storageChart } from './figures.ts';

/** 2 shards, 2 slices, both orders: a stage takes a second for each slice that it has learnt from. */
const RESULT = {
  ...{
    shards: 2,
    slices: 2,
    budget: 2,
    strategy: 'cyclic',
    sequences: selectSequences('cyclic', { slices: 2, budget: 2 }),
  },
  bytes: 8 * 1024,
  full: { score: 1, seconds: { cpu: 36, wall: 0 } },
  stages: [0, 1].flatMap((shard) =>
    [[0], [0, 1], [1], [1, 0]].map((slices) => ({
      ...{ stage: '', shard, slices, position: slices.length - 1 },
      seconds: { cpu: slices.length, wall: 0 },
    })),
  ),
} as unknown as ExperimentResult;

test('deletion time: retrainings by theory, each as long as its stages took', () => {
  const { lines } = deletionTimeChart(RESULT, { requests: 100, trials: 200, seed: 1 });
  const last = Object.fromEntries(lines.map(({ name, points }) => [name, points.at(-1)![1] * 3600]));
  const retrainings = (budget: number) =>
    expectedRetrainings({ shards: 2, slices: 2, budget, deletions: 100 });
  // Both orders of both shards: 2 x (1 + 2 + 1 + 2) seconds; one order of both: half.
  expect(last['S3T, B = 2: retrained when exhausted']).toBeCloseTo(12 * retrainings(2), 9);
  expect(last['SISA: retrained when exhausted']).toBeCloseTo(6 * retrainings(1), 9);
  // From the first slice on 1 + 2 seconds, from the second on 2: one shard, either slice alike.
  expect(last['SISA: shard retrained at once']).toBeCloseTo(100 * 2.5, 9);
  expect(last['retraining from scratch']).toBeCloseTo(3600, 9);
  expect(last['S3T, B = 2, simulated']! / last['S3T, B = 2: retrained when exhausted']!).toBeCloseTo(1, 1);
});

test('storage: a stack for each sequence, less what they share', () => {
  const [whole, shared] = storageChart(RESULT).lines;
  expect(whole!.points).toEqual([
    [1, 4],
    [2, 8],
  ]);
  expect(shared!.points).toEqual(whole!.points);
});

test('s3t experiment figures writes SVG, PNG and the numbers, and says what is missing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 's3t-figures-'));
  let stderr = '';
  const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const err = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
  try {
    const asked = `experiment figures --trials 200 --shards 2 --slices 3 --out ${folder}`;
    expect(await run(asked.split(' '))).toBe(0);
    const figures: Figures = JSON.parse(await readFile(join(folder, 'figures.json'), 'utf8'));
    for (const name of Object.keys(figures))
      expect(await readFile(join(folder, `${name}.svg`), 'utf8')).toMatch(/^<svg/);
    const [theory, simulated] = figures['deletion-rate-budget']!.lines;
    expect(theory!.points[1]).toEqual([2, deletionRate({ shards: 2, slices: 3, budget: 2 })]);
    expect(simulated!.points[1]![1] / theory!.points[1]![1]).toBeGreaterThan(0.8);
    for (const few of ['1', '2'])
      expect(
        await run(['experiment', 'figures', '--trials', '9', '--slices', few, '--out', join(folder, few)]),
      ).toBe(0);
    expect(await run([...asked.split(' '), join(folder, 'none')])).toBe(2);
    expect(stderr).toContain('none/results.json: there are no results here');
    await writeFile(join(folder, 'results.json'), '{}');
    expect(await run([...asked.split(' '), folder])).toBe(2);
    const twins = ['a/mnist', 'b/mnist'].map((name) => join(folder, name));
    for (const twin of twins) {
      await mkdir(twin, { recursive: true });
      const methods = [{ name: 'SISA', mean: [1, 0] }];
      await writeFile(join(twin, 'results.json'), JSON.stringify({ ...RESULT, methods, retraining: [] }));
    }
    expect(await run([...asked.split(' '), ...twins])).toBe(2);
    expect(stderr).toContain('b/mnist: its figures would be named as those of');
  } finally {
    out.mockRestore();
    err.mockRestore();
    process.exitCode = undefined;
    await rm(folder, { recursive: true });
  }
});
