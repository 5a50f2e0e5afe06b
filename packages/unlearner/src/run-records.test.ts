import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import type { OpenedRun } from './open-run.ts';
import { readSplit } from './run-data.ts';
import { RunRecords } from './run-records.ts';
import { evaluationDigest } from './stage-meter.ts';
import { temporaryFolder } from './testing/temporary.ts';

test('evaluation data that stages were trained by is the one the run was created with: content, labels and order', async () => {
  const folder = await temporaryFolder();
  const rows = ['{"t":"a","l":"x"}', '{"t":"b","l":"y"}'];
  const write = (lines: readonly string[]) => writeFile(join(folder, 'eval.jsonl'), lines.join('\n'));
  const value = {
    ...{ base: 'b', task: 'text-classification', shards: 1, slices: 1 },
    data: { train: 'train.jsonl', eval: 'eval.jsonl', label: 'l', text: ['t'], labels: ['x', 'y'] },
    training: { earlyStopping: { patience: 1 } },
  };
  const located = { config: parseConfig(value, 'c.json'), folder, file: 'c.json' };
  await write(rows);
  const setting = { data: { eval: evaluationDigest(await readSplit(located, 'eval')) } };
  const opened = { located, setting } as unknown as OpenedRun;
  expect(await new RunRecords(opened).meter()).not.toBeNull();
  const held = new RunRecords(opened);
  for (const changed of [
    [rows[0]!],
    rows.toReversed(),
    [rows[0]!, '{"t":"b","l":"x"}'],
    [rows[0]!, '{"t":"c","l":"y"}'],
  ]) {
    await write(changed);
    await expect(held.meter()).rejects.toMatchObject({
      code: 'data',
      message: expect.stringMatching(/^c\.json: data\.eval changed since the run was created[^\n]*$/),
    });
  }
  // Put right, it is what it was; and once it was read, what the file becomes does not matter.
  await write(rows);
  const meter = await held.meter();
  await write([]);
  expect(await held.meter()).toBe(meter);
  await rm(folder, { recursive: true });
});
