import { appendFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LedgerCorruptError } from './errors.ts';
import { assertSameRun, Journal } from './journal.ts';
import { temporaryFolder } from './testing/run.ts';

const folder = await temporaryFolder();
afterAll(() => rm(folder, { recursive: true, force: true }));
const erasure = (name: string) => ({
  ...{ run: 'one', erasure: name, requestDigest: 'd', receivedAt: 1 },
  commitments: [`c-${name}`],
});

test('keeps erasures in order, each once, and goes on after what a power cut left of a line', async () => {
  const file = join(folder, 'cut');
  const { journal } = await Journal.open(file);
  await Promise.all(['a', 'b', 'a'].map((name) => journal.append(erasure(name), 1)));
  const whole = await readFile(file, 'utf8');
  await appendFile(file, '{"seq":2,"kind":"era');
  const again = await Journal.open(file);
  expect(again.erasures).toEqual([erasure('a'), erasure('b')]);
  expect(await readFile(file, 'utf8')).toBe(whole);
  await again.journal.append(erasure('c'), 2);
  expect((await Journal.open(file)).erasures.map(({ erasure: id }) => id)).toEqual(['a', 'b', 'c']);
  expect(() => assertSameRun(file, again.erasures, 'one')).not.toThrow();
  expect(() => assertSameRun(file, again.erasures, 'other')).toThrow(
    `${file}: is the journal of another run`,
  );
});

test('refuses every line that was changed, lost or moved', async () => {
  const file = join(folder, 'changed');
  const { journal } = await Journal.open(file);
  for (const name of ['a', 'b', 'c']) await journal.append(erasure(name), 1);
  const [one, two, three] = (await readFile(file, 'utf8')).split('\n') as [string, string, string];
  const refused = async (...lines: string[]) => {
    await writeFile(file, `${lines.join('\n')}\n`);
    await expect(Journal.open(file)).rejects.toThrow(LedgerCorruptError);
  };
  await refused(two, three);
  await refused(one, three);
  await refused(one, three, two);
  await refused(one, '', two);
  for (let at = 0; at < two.length; at += 7) {
    const changed = String.fromCharCode(two.charCodeAt(at) ^ 1);
    await refused(one, two.slice(0, at) + changed + two.slice(at + 1), three);
  }
});

test('a journal that cannot be written names its file, and takes the erasure later', async () => {
  const { journal } = await Journal.open(join(folder, 'missing', 'journal'));
  await expect(journal.append(erasure('a'), 1)).rejects.toThrow(/cannot write .*missing.journal/);
  expect(journal.has('a')).toBe(false);
});
