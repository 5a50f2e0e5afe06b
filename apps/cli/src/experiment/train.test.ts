import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExperimentResult } from '@s3t/laboratory';
import { afterAll, expect, test, vi } from 'vitest';
import { run } from '../run.ts';

const folder = mkdtempSync(join(tmpdir(), 's3t-experiment-'));
const out = join(folder, 'mnist');
afterAll(() => rmSync(folder, { recursive: true }));

/** The shapes of the run that the other tests train. */
const EXPERIMENT =
  `experiment vit --smoke --dataset mnist --records 96 --eval-records 64 --lora-rank 4 --lora-dropout 0
  --learning-rate 0.01 --streams 3 --no-full --json --out`.split(/\s+/);

/** Runs a command in this process, which finds its kernels compiled the second time. */
async function json<T>(...args: string[]): Promise<T> {
  let [stdout, stderr] = ['', ''];
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  const err = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
  try {
    expect(await run(args), stderr).toBe(0);
    return JSON.parse(stdout);
  } finally {
    out.mockRestore();
    err.mockRestore();
    process.exitCode = undefined;
  }
}

test('an experiment trains, measures, writes down what its stages took and draws', async () => {
  const result = await json<ExperimentResult>(...EXPERIMENT, out);
  expect(result).toMatchObject({ shards: 2, slices: 2, budget: 2, records: 96, examples: 64, nothing: 0.1 });
  expect(result.stages).toHaveLength(8);
  expect(result.byDepth).toHaveLength(2);
  // It learnt: better than three times guessing.
  expect(result.ensemble).toBeGreaterThan(0.3);
  const [sisa, both] = result.methods;
  expect([sisa!.name, both!.name]).toEqual(['SISA', 'S3T, B = 2']);
  expect(sisa!.mean[0]).toBe(result.ensemble);
  both!.depth.forEach((depth, deletions) => {
    expect(depth).toBeGreaterThanOrEqual(sisa!.depth[deletions]!);
  });
  expect(readFileSync(join(out, 'performance.svg'), 'utf8')).toMatch(/^<svg/);
  const lines = readFileSync(join(out, 'stages.jsonl'), 'utf8').trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toEqual(result.stages);
});

test('s3t plan takes accuracy by depth from it, and measures the same of its run', async () => {
  const { nothing, byDepth } = JSON.parse(
    readFileSync(join(out, 'results.json'), 'utf8'),
  ) as ExperimentResult;
  const line =
    'plan --records 4000 --erasures-per-day 2 --storage 1GB --train-hours 1 --shards 2 --slices 2 --trials 1 --json';
  for (const from of [out, join(out, 'run')]) {
    const { request, plan } = await json<{
      request: { accuracyByDepth: number[]; costs: { layers: number } };
      plan: { expected: { value: number } };
    }>(...line.split(' '), '--from', from);
    expect(request.accuracyByDepth).toEqual([nothing, ...byDepth]);
    expect(request.costs.layers).toBe(8);
    expect(plan.expected.value).toBeLessThanOrEqual(Math.max(...byDepth));
  }
});
