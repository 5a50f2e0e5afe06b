// Erasing whom records are about: the same as erasing their records by id.
import { readFile, writeFile } from 'node:fs/promises';
import { parsePublicKey, utf8, verifyReceipt } from '@s3t/ledger/log';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sharedDevice } from './testing/device.ts';
import { Project } from './testing/project.ts';
import { expectSame, snapshotOf } from './testing/snapshot.ts';

const device = sharedDevice();
let project: Project;
/** Records of high risk lie in the last slice, others wherever their ids put them; with `data.subject`, and without. */
let config: string;
let placed: string;
const partition = { by: 'risk', open: { high: [2] } };
const riskOf = (number: number): string | null =>
  number % 3 === 0 ? 'high' : number % 3 === 1 ? 'low' : null;

const subjectOf = (number: number): string | null => (number < 8 ? null : `citizen-${number % 8}`);

beforeAll(async () => {
  project = await Project.make();
  const file = project.path('train.jsonl');
  const rows = (await readFile(file, 'utf8')).trimEnd().split('\n');
  const told = rows.map((row, number) =>
    JSON.stringify({ ...JSON.parse(row), who: subjectOf(number), risk: riskOf(number) }),
  );
  await writeFile(file, told.join('\n'));
  placed = await project.writeConfig('placed.json', { partition });
  config = await project.writeConfig('subjects.json', { partition, data: { subject: 'who' } });
});
afterAll(() => project[Symbol.asyncDispose]());

const idsOf = (subject: string): string[] =>
  project.records.flatMap(({ id }, number) => (subjectOf(number) === subject ? [id] : []));

test('a subject goes with all of its records, bit for bit as if they were named; once per key', async () => {
  await using named = await project.open('named', { device: device(), config: placed });
  await named.train();
  await using run = await project.open('subjects', { device: device(), config });
  await run.train();
  // Who a record is about changes no byte of a stage.
  expectSame(await snapshotOf(run), await snapshotOf(named));
  const places = new Map((await run.placements()).map(({ id, slice }) => [id, slice]));
  const slicesOf = (isHigh: boolean) =>
    project.records
      .filter((_, number) => (riskOf(number) === 'high') === isHigh)
      .map(({ id }) => places.get(id));
  expect(new Set(slicesOf(true))).toEqual(new Set([2]));
  expect(new Set(slicesOf(false))).toEqual(new Set([0, 1, 2]));

  const planned = await run.erase({ subjects: ['citizen-3'] }, { dryRun: true });
  const receipt = await run.erase({ subjects: ['citizen-3'] }, { idempotencyKey: 'ticket' });
  expect(receipt).toMatchObject({ records: 5, deactivated: planned.deactivated });
  expect(await run.erase({ subjects: ['citizen-3'] }, { idempotencyKey: 'ticket' })).toEqual({
    ...receipt,
    repeated: true,
  });
  const other = run.erase({ subjects: ['citizen-4'] }, { idempotencyKey: 'ticket' });
  await expect(other).rejects.toMatchObject({ code: 'idempotency-conflict' });
  const both = await run.erase({ records: ['person-0', 'person-12'], subjects: ['citizen-4'] });
  expect(both.records).toBe(6);
  await named.erase(idsOf('citizen-3'));
  await named.erase([...idsOf('citizen-4'), 'person-0']);
  await run.repair();
  await named.repair();
  expectSame(await snapshotOf(run), await snapshotOf(named));
  expect(await run.verify()).toMatchObject({ identical: true });

  const file = (await run.log.receiptFile(receipt.erasure))!;
  expect(await verifyReceipt(utf8(file), await run.log.publicKey())).toMatchObject({
    valid: true,
    statement: { predicate: { records: { count: 5 } } },
  });
  expect(atob(JSON.parse(file).envelope.payload)).not.toContain('citizen');

  expect(await run.receiptFor('ticket')).toEqual({ ...receipt, repairedAt: expect.any(String) });
  expect(await run.receiptFor('another')).toBeNull();
  const told = utf8('{"request_status":"completed"}');
  const key = await parsePublicKey(await run.log.publicKey());
  expect(await key.verify(told, Uint8Array.from(await run.log.sign(told)))).toBe(true);
  await expect(run.log.sign(utf8('DSSEv1 '))).rejects.toMatchObject({ code: 'usage' });

  await expect(run.erase({ subjects: ['citizen-5', 'citizen-3'] })).rejects.toMatchObject({
    code: 'unknown-subject',
    message: '1 of 2 subjects have no record in this run, or none any more ("citizen-3"); nothing was erased',
  });
  for (const target of [{ subjects: [''] }, { subjects: ['\ud800'] }, { subjects: [7 as unknown as string] }])
    await expect(run.erase(target)).rejects.toMatchObject({ code: 'unknown-subject' });
  await expect(run.erase({ subjects: [] })).rejects.toMatchObject({ code: 'usage' });
  await expect(named.erase({ subjects: ['citizen-5'] })).rejects.toMatchObject({
    code: 'usage',
    message: 'subjects: the configuration of this run names no data.subject; erase by record id',
  });
});

test('a run whose data does not say whom records are about is refused by name', async () => {
  const wrong = await project.writeConfig('wrong.json', { data: { subject: 'whom' } });
  await expect(project.open('wrong', { device: device(), config: wrong })).rejects.toMatchObject({
    code: 'data',
    message: expect.stringMatching(/train\.jsonl.*whom.*is missing/),
  });
});
