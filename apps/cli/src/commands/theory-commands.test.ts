import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deletionTime, greatestEditDistance, type Plan, retention } from '@s3t/algorithm';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../run.ts';

// In this process: nothing here needs a device, and starting a command costs more than what it does.
let stdout = '';
let stderr = '';
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3t-plot-'));
  vi.stubEnv('NO_COLOR', '1');
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = undefined;
});

async function s3t(line: string): Promise<{ code: number; stdout: string; stderr: string }> {
  stdout = '';
  stderr = '';
  const code = await run(line.split(' '));
  return { code, stdout, stderr };
}

const json = async <T>(line: string): Promise<T> => JSON.parse((await s3t(`${line} --json`)).stdout);

const PLAN = 'plan --records 4000 --erasures-per-day 10 --storage 10MB --train-hours 1';

describe('refused in one line that names the option and what would do, exit code 2', () => {
  test.each([
    ['simulate retention --depth 5', '--depth: 5 is more than the 4 slices; the nearest valid value is 4'],
    [
      'simulate deletion-rate --slices 3 --budget 7',
      '--budget: budget 7 is more than the 6 orders of 3 slices; the nearest valid value is 6',
    ],
    [
      'simulate diversity --strategy bms --budget 5',
      '--budget: strategy "bms" gives one sequence per slice: at most 4, got 5; the nearest valid value is 4',
    ],
    [
      'simulate deletion-time --retrain-seconds -1',
      "option '--retrain-seconds <s>' argument '-1' is invalid. It must be a number of at least 0.",
    ],
    [
      'simulate deletion-rate --prior 0.5,0.5,0.5,0.5',
      '--prior: prior must sum to 1, got 2; the nearest valid value is [0.25,0.25,0.25,0.25]',
    ],
    [
      'simulate diversity --plot x.gif',
      "option '--plot <file>' argument 'x.gif' is invalid. Its name must end in .svg or .png.",
    ],
    [
      'sequences --slices 4 --budget 2 --strategy bms --prior 0.5,0.2,0.2,0.2',
      '--prior: prior must sum to 1',
    ],
    [
      'sequences --slices 3 --budget 5 --strategy all',
      '--budget: strategy "all" needs a budget of 3! = 6, got 5; the nearest valid value is 6',
    ],
    [`${PLAN} --slices 9`, '--slices: 9 is more than the 8 layers; the nearest valid value is 8'],
    [
      `${PLAN} --slices 3 --budget 7`,
      '--budget: budget 7 is more than the 6 orders of 3 slices; the nearest valid value is 6',
    ],
    [`${PLAN} --slices 4 --prior 0.5,0.5`, '--prior: it has 2 probabilities for 4 slices; give 4'],
    [`${PLAN} --prior 0.5,0.6`, '--prior: prior must sum to 1'],
    [
      `${PLAN} --policy sometimes`,
      "option '--policy <list>' argument 'sometimes' is invalid. It must be at-once, exhaustion, manual, batch:",
    ],
    [
      `${PLAN} --accuracy-by-depth 0.1,1.2`,
      '--accuracy-by-depth: 1.2 is no accuracy; the nearest valid value is 1',
    ],
    [`${PLAN} --slices 4 --storage 1kB`, '--storage: 1000 B is too little; 138 KiB would do'],
    [
      `${PLAN} --slices 4 --records-per-slice 2000`,
      '--records-per-slice: 4,000 records fill no 1 x 4 slices so far; 1000 would do',
    ],
    [
      'plan --records 0 --erasures-per-day 1 --storage 1GB --train-hours 1',
      'It must be an integer of at least 1.',
    ],
    [
      'plan --records 9 --erasures-per-day 1 --storage lots --train-hours 1',
      'It must be a number of bytes, such as 4096, 2GB or 512MiB.',
    ],
    ['plan --records 9', "required option '--erasures-per-day <x>' not specified"],
  ])('s3t %s', async (line, message) => {
    const result = await s3t(line);
    expect(result.stderr.split('\n')).toEqual([expect.stringContaining(message), '']);
    expect([result.code, result.stdout]).toEqual([2, '']);
  });
});

describe('simulate: theory beside simulation', () => {
  test('retention', async () => {
    const options = { slices: 5, budget: 1, depth: 2, deletions: 3 };
    const result = await json<Record<string, number> & { simulated: { probability: number; error: number } }>(
      'simulate retention --slices 5 --budget 1 --depth 2 --deletions 3',
    );
    expect(result).toMatchObject({ ...options, theory: retention(options), sisa: retention(options) });
    expect(Math.abs(result.simulated.probability - result.theory!)).toBeLessThan(4 * result.simulated.error);
    expect((await s3t('simulate retention --trials 50')).stdout).toMatch(/^cyclic +4 +4 +1 +4 /m);
  });

  test('deletion-time', async () => {
    const options = {
      shards: 3,
      slices: 4,
      budget: 2,
      deletions: 200,
      retrainSeconds: 60,
      deactivateSeconds: 0.5,
    };
    const line =
      'simulate deletion-time --shards 3 --budget 2 --deletions 200 --retrain-seconds 60 --deactivate-seconds 0.5';
    const { theory, sisa, retraining, simulated } = await json<{
      theory: number;
      sisa: number;
      retraining: number;
      simulated: { mean: number; std: number; trials: number };
    }>(`${line} --trials 2000`);
    expect([theory, sisa]).toEqual([deletionTime(options), deletionTime({ ...options, budget: 1 })]);
    expect(retraining).toBe(12_000);
    expect(Math.abs(simulated.mean - theory)).toBeLessThan((4 * simulated.std) / Math.sqrt(2000));
    expect((await s3t(`${line} --trials 50`)).stdout).toMatch(/^retraining each time +3 h 20 min /m);
  });

  test('diversity', async () => {
    const result = await json('simulate diversity --slices 6 --budget 6');
    const theory = greatestEditDistance({ slices: 6, budget: 6 });
    expect(result).toMatchObject({ strategy: 'cyclic', theory, simulated: { mean: 6, std: 0 } });
    expect((await s3t('simulate diversity --strategy random --trials 50')).stdout).toMatch(
      /^random +4 +4 +4\.0000 +3\.1304 /m,
    );
  });

  test('draws SVG and PNG', async () => {
    const svg = join(folder, 'rate.svg');
    expect((await s3t(`simulate deletion-rate --trials 50 --plot ${svg}`)).stderr).toBe(`drawn: ${svg}\n`);
    const text = await readFile(svg, 'utf8');
    expect(text).toMatch(/^<svg [\s\S]*Lemma 1[\s\S]*<\/svg>\n$/);
    // One dot a budget: 1, 2, 4; and one in the legend.
    expect(text.match(/<circle /g)).toHaveLength(4);
    // One that takes all orders is one dot, at the only budget it has, beside that of Lemma 1, and one in the legend.
    for (const [what, dots] of [
      ['deletion-rate', 3],
      ['diversity', 2],
    ] as const) {
      await s3t(`simulate ${what} --slices 3 --budget 6 --strategy all --trials 50 --plot ${svg}`);
      expect((await readFile(svg, 'utf8')).match(/<circle /g)).toHaveLength(dots);
    }
    const png = join(folder, 'rate.PNG');
    await s3t(`simulate diversity --budget 1 --plot ${png}`);
    expect((await readFile(png)).subarray(1, 4).toString()).toBe('PNG');
  });
});

test.each(['cyclic', 'bms', 'conditional', 'random'])('sequences: %s', async (strategy) => {
  const line = `sequences --slices 5 --budget 3 --strategy ${strategy} --prior 0.4,0.3,0.1,0.1,0.1 --seed 4`;
  const result = await json<{ sequences: number[][] }>(line);
  expect(result).toMatchObject({ strategy, score: expect.any(Number), editDistance: expect.any(Number) });
  expect(result.sequences).toHaveLength(3);
  expect(result.sequences.every((order) => order.toSorted().join('') === '01234')).toBe(true);
  expect(await json(line)).toEqual(result);
});

test('a prior is estimated from counts, too', async () => {
  const options = 'sequences --slices 3 --budget 3 --strategy bms --lookahead 2';
  const { score } = await json<{ score: number }>(`${options} --prior counts:7,0,1`);
  expect(score).toBe(
    (await json<{ score: number }>(`${options} --prior ${[7.5, 0.5, 1.5].map((n) => n / 9.5)}`)).score,
  );
  expect((await s3t(`${options} --prior counts:7,x,1`)).stderr).toContain(
    'It must be an integer of at least 0.',
  );
});

test('a prior is planned for classes of records, with the slices open to each', async () => {
  const { open, prior } = await json<{ open: Record<string, number[]>; prior: number[] }>(
    'prior --slices 4 --class gold:100:40 --class plain:900:10',
  );
  expect(open).toEqual({ plain: [0, 1, 2], gold: [3] });
  expect(prior).toEqual([1 / 15, 1 / 15, 1 / 15, 0.8].map((share) => Number(share.toFixed(9))));
  expect((await s3t('prior --slices 4 --class gold:100')).stderr).toContain('<name>:<records>:<erasures>');
  expect((await s3t('prior')).code).toBe(2);
});

describe('plan', () => {
  test('picks a shape and a repair policy within the limits, and shows the alternatives', async () => {
    const { plan, alternatives, considered } = await json<{
      plan: Plan & { policy: { name: string } };
      alternatives: Plan[];
      considered: number;
    }>(`${PLAN} --policy at-once,batch:5,batch:12h,batch:5/12h,exhaustion`);
    expect(plan).toMatchObject({ breaks: [], policy: { name: expect.any(String) } });
    expect(plan.storageBytes).toBeLessThanOrEqual(10e6);
    expect(plan.trainSeconds).toBeLessThanOrEqual(3600);
    expect(plan.expected.availability).toBeGreaterThanOrEqual(0.999);
    // The other policies of its shape, and the other numbers of shards.
    expect(alternatives).toHaveLength(4 + 6);
    expect(considered).toBeGreaterThan(100);
  });

  test('prints the plan, its alternatives and what they break', async () => {
    const { code, stdout, stderr } = await s3t(
      `${PLAN} --shards 3 --slices 4 --budget 2 --accuracy-by-depth 0.1,0.85,0.9,0.92,0.93`,
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^repair +at-once$/m);
    expect(stdout).toMatch(/^accuracy loss +0\.\d\d % \(expected accuracy 0\.9\d+\)$/m);
    expect(stdout).toMatch(/^ +3 +4 +2 +cyclic +exhaustion .* loss$/m);
    expect((await s3t(`${PLAN} --policy exhaustion`)).stdout).toMatch(
      /^No plan keeps all limits; this one breaks: .*loss/,
    );
  });

  test('weighs matching against rotation where a prior is known, and draws the depth over time', async () => {
    const file = join(folder, 'plan.svg');
    const { plan } = await json<{ plan: Plan }>(`${PLAN} --prior 0.7,0.1,0.1,0.1 --plot ${file}`);
    expect(plan).toMatchObject({ slices: 4, strategy: 'bms' });
    expect(await readFile(file, 'utf8')).toContain('batch:168h');
  });
});
