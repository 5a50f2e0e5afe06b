import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Planned } from '@s3t/laboratory';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from '../run.ts';
import { ROOT } from '../testing/fixture.ts';

let [stdout, stderr] = ['', ''];
beforeEach(() => {
  [stdout, stderr] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

/** The table of docs/results.md: each command, a line for each of its data sets, and what the other columns say. */
const rows = readFileSync(join(ROOT, 'docs/results.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| `npx s3t experiment '))
  .flatMap((line) => {
    const [command, ...columns] = line
      .replaceAll('\\|', '/')
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    const words = command!.replaceAll('`', '').replace('npx s3t ', '').split(' ');
    const choice = words.find((_, i) => words[i - 1] === '--dataset') ?? '';
    return choice.split('/').map((dataset): [string, string[]] => {
      const own = words.map((word) => (word === choice ? dataset : word));
      return [own.join(' '), columns];
    });
  });

test('every run of the paper has its row', () => {
  const names = rows.map(([line]) => line.split(' ')[1]);
  const count = (name: string) => names.filter((one) => one === name).length;
  expect(['glue', 'superglue', 'vit', 'llm', 'full-budget'].map(count)).toEqual([8, 6, 4, 3, 1]);
});

test.each(rows)('s3t %s', async (line, columns) => {
  expect([await run([...line.split(' '), '--print-config']), stderr]).toEqual([0, '']);
  const { slices, layersPerSlice, budget, lora, training, ...planned } = JSON.parse(stdout) as Planned;
  expect([
    `${slices} x ${layersPerSlice ?? 'all'}`,
    String(budget),
    [lora!.rank, lora!.alpha, lora!.dropout].join(', '),
    training.learningRate!.toExponential(),
    String(training.epochs),
    String(training.batchSize),
  ]).toEqual(columns);
  expect(planned.shards).toBe(5);
  expect(lora!.rslora).toBe(true);
  // A base that is on the hub, and the data set's id.
  expect(planned.base).toMatch(/^[\w-]+\/[\w.-]+$/);
  expect(planned).toHaveProperty('data', expect.stringMatching(/^[\w-]+\/[\w.-]+$/));
});

test('what cannot be trained is refused before anything is fetched', async () => {
  const line = 'experiment vit --dataset cifar10 --num-slices 3 --budget 7 --print-config';
  expect(await run(line.split(' '))).toBe(2);
  expect(stderr).toContain('the nearest valid value is 6');
  expect(await run('experiment glue --dataset wnli --print-config'.split(' '))).toBe(2);
  expect(stderr).toContain('--dataset: glue has no wnli');
});
