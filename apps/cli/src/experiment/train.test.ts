import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeIdx } from '@s3t/data';
import type { ExperimentResult, StageLine } from '@s3t/laboratory';
import { afterAll, expect, test, vi } from 'vitest';
import { run } from '../run.ts';
import { outcomeOf, startS3t } from '../testing/s3t.ts';

const folder = mkdtempSync(join(tmpdir(), 's3t-experiment-'));
const out = join(folder, 'mnist');
afterAll(() => rmSync(folder, { recursive: true }));

/** The shapes of the run that the other tests train. */
const EXPERIMENT =
  `experiment vit --smoke --dataset mnist --records 96 --eval-records 64 --lora-rank 4 --lora-dropout 0
  --learning-rate 0.01 --streams 3 --no-full --json --out`.split(/\s+/);

/** What it writes down about its stages. */
const linesOf = (folder: string): StageLine[] => {
  const text = readFileSync(join(folder, 'stages.jsonl'), { encoding: 'utf8', flag: 'a+' });
  const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return whole.flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
};

/** Runs a command in this process, which finds its kernels compiled the second time. */
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await outcome(args);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

/** What a command says that fails. */
async function refusal(...args: string[]): Promise<string> {
  const { code, stderr } = await outcome(args);
  expect(code).not.toBe(0);
  return stderr;
}

async function outcome(args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
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
    return { code: await run(args), stdout, stderr };
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
  expect(linesOf(out)).toEqual(result.stages);
});

test('an experiment that was killed goes on where it was, to the same numbers', async () => {
  const again = join(folder, 'killed');
  const child = startS3t([...EXPERIMENT, again]);
  const ended = outcomeOf(child);
  mkdirSync(again, { recursive: true });
  while (linesOf(again).length < 3 && child.exitCode === null) await sleep(5);
  child.kill('SIGKILL');
  const { stderr } = await ended;
  expect(child.signalCode, stderr).toBe('SIGKILL');
  const [first, ...before] = linesOf(again);
  expect(before.length).toBeLessThan(7);
  // As if it had been killed a moment earlier once: the stage is kept, and its line is not.
  writeFileSync(join(again, 'stages.jsonl'), before.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const { stages } = await json<ExperimentResult>(...EXPERIMENT, again);
  // What was trained is not trained again: its lines are those from before, and how long the first took is not known.
  expect(linesOf(again).slice(0, before.length)).toEqual(before);
  expect(stages[0]).toEqual({ ...first, seconds: null });
  expect(stages.slice(1, 1 + before.length)).toEqual(before);
  expect(numbersOf(again)).toEqual(numbersOf(out));
});

/** All that it measured, but how long it took. */
function numbersOf(folder: string): unknown {
  const { stages, ...numbers }: ExperimentResult = JSON.parse(
    readFileSync(join(folder, 'results.json'), 'utf8'),
  );
  return { ...numbers, stages: stages.map(({ seconds, ...stage }) => stage) };
}

test('what cannot be measured is refused before anything is trained', async () => {
  const refused = join(folder, 'refused');
  const said = (...options: string[]) => refusal(...EXPERIMENT, refused, ...options);
  expect(await said('--budgets', '3')).toContain('the nearest valid value is 2');
  expect(await said('--budgets', '0')).toContain(
    '--budgets: 0 sequences are none; the nearest valid value is 1',
  );
  expect(await said('--retrain-after', '96')).toContain(
    '--retrain-after: after 96 of 96 deletions nothing is left to train on; the nearest valid value is 95',
  );
  const unseen = {
    width: 28,
    height: 28,
    images: Array(8).fill(new Uint8Array(28 * 28)),
    labels: Array(8).fill(11),
  };
  await writeIdx(join(folder, 'unseen'), 'train', { ...unseen, labels: Array(8).fill(1) });
  await writeIdx(join(folder, 'unseen'), 'eval', unseen);
  const other = `experiment vit --smoke --dataset mnist --data ${join(folder, 'unseen')} --out ${join(folder, 'unseen')}`;
  expect(await refusal(...other.split(' '))).toMatch(/t10k-labels.*11/);
  expect(linesOf(refused)).toEqual([]);
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

test('other records than those that it was trained on are told as such', async () => {
  const fewer = EXPERIMENT.map((word) => (word === '96' ? '80' : word));
  expect(await refusal(...fewer, out)).toContain('this run was trained on other records');
});
