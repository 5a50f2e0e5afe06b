import { readFileSync } from 'node:fs';
import {
  access,
  cp,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { backupRun, restoreRun } from './backup.ts';
import { RESTORING } from './open-run.ts';
import { STAGED_BACKUP } from './staged-backup.ts';
import { sharedDevice } from './testing/device.ts';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import { adapterFiles, expectOnlyActiveFiles, weightsOf } from './testing/snapshot.ts';
import type { Receipt, Status } from './types.ts';
import { Unlearner } from './unlearner.ts';

// One run: backed up while it is open, then it forgets two people more.
const device = sharedDevice();
let project: Project;
let run: Unlearner;
let [before, after]: Status[] = [];
const receipts: Receipt[] = [];

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
const open = (name: string): Promise<Unlearner> =>
  Unlearner.open({ run: project.path(name), config: project.configFile, device: device() });

beforeAll(async () => {
  // One sequence of two slices in each of two shards: what a backup does not depend on how much there is.
  project = await Project.make({ change: { slices: 2, budget: 1 } });
  run = await project.open('run', { device: device() });
  await run.train();
  receipts.push(await run.erase([project.idsIn(0, 1)[0]!]));
  before = await run.status();
  await run.log.publicKey();
  const answers = run.predict([imageOf(madeRecords(1, 7)[0]!)]);
  const { at: _, ...backup } = await run.stageBackup();
  expect(backup).toMatchObject({ version: before.version, manifest: before.manifest, erasures: 1 });
  await answers;
  await rename(project.path('run', STAGED_BACKUP), project.path('saved'));
  receipts.push(await run.erase([project.idsIn(1, 0)[0]!]));
  after = await run.status();
});
afterAll(async () => {
  await run?.close();
  await project[Symbol.asyncDispose]();
});

test('a backup of an open run is the run of that moment, with the weights of active stages alone', async () => {
  expect(await adapterFiles(project.path('saved'))).toEqual(
    [...new Set(weightsOf(before!).values())].map((weights) => `${weights}.safetensors`).sort(),
  );
  const back = await restoreRun({ backup: project.path('saved'), run: project.path('as-it-was') });
  expect(back).toMatchObject({ reapplied: 0, destroyed: 0, newerJournal: false, version: before!.version });
  await using restored = await open('as-it-was');
  expect(await restored.status()).toEqual(before);
  const history = await restored.history(100);
  expect(history.map(({ version }) => version)).toEqual(history.map((_, i) => i));
  expect(history.at(0)!.depths).toEqual([0, 0]);
  expect(history.at(-1)!.depths).toEqual(restored.servedDepths);
  expect(history.at(-2)!.depths).toEqual([2, 2]);
  expect(await restored.history(2)).toEqual(history.slice(-2));
  expect(await restored.receipt(receipts[0]!.erasure)).toEqual(receipts[0]);
});

test('what the newest journal knows is erased again, and its weights are gone, before there is a run to open', async () => {
  const gone = receipts[1]!.deactivated.map(
    ({ stage, shard }) => weightsOf(before!).get(`${shard}/${stage}`)!,
  );
  expect(gone.length).toBeGreaterThan(0);
  for (const weights of gone)
    expect(await isThere(project.path('saved', 'adapters', `${weights}.safetensors`))).toBe(true);
  const options = { backup: project.path('saved'), run: project.path('back') };
  // The folder that lost everything but its journal.
  await mkdir(options.run);
  await cp(project.path('run', 'erasures.journal'), project.path('back', 'erasures.journal'));
  const back = await restoreRun(options);
  expect(back).toMatchObject({ reapplied: 1, destroyed: new Set(gone).size, newerJournal: true });
  for (const name of await readdir(options.run, { recursive: true })) {
    for (const weights of gone) expect(name).not.toContain(weights);
  }
  await using restored = await open('back');
  const { manifest, records, erased, shards } = await restored.status();
  expect({ manifest, records, erased, shards }).toEqual({
    manifest: after!.manifest,
    records: after!.records,
    erased: after!.erased,
    shards: after!.shards,
  });
  await expectOnlyActiveFiles(options.run, restored);
  expect(await restored.receipt(receipts[1]!.erasure)).toMatchObject({ records: 1 });
  await restored.repair();
  expect(await restored.verify()).toMatchObject({ identical: true, differing: [] });
  await expect(restored.erase([project.idsIn(1, 0)[0]!])).rejects.toThrow('erased before');
});

// Each with the journal of the run in the folder, or a line of it less.
async function folderWith(name: string, lines: number): Promise<{ own: string; newer: string }> {
  const newer = await readFile(project.path('run', 'erasures.journal'), 'utf8');
  const own = project.path(name, 'erasures.journal');
  await mkdir(project.path(name));
  await writeFile(own, `${newer.split('\n').slice(0, lines).join('\n')}\n`);
  return { own, newer };
}

test('the journal in a folder that is a link is not lost, and is the one of the run', async () => {
  const { own, newer } = await folderWith('linked', 2);
  await symlink(project.path('linked'), project.path('link'));
  const back = await restoreRun({ backup: project.path('saved'), run: project.path('link') });
  expect(back).toMatchObject({ reapplied: 1, newerJournal: true });
  expect(await readFile(own, 'utf8')).toBe(newer);
  expect(await readdir(project.path('linked'))).not.toContain(RESTORING);
});

test('of two journals the newer one counts, and lies in the run folder before anything else does', async () => {
  const backup = project.path('saved');
  const older = await folderWith('older', 1);
  // Given the older one, where the folder has the newer.
  const { own, newer } = await folderWith('own', 2);
  expect(await restoreRun({ backup, run: project.path('own'), journal: older.own })).toMatchObject({
    reapplied: 1,
    newerJournal: true,
  });
  expect(await readFile(own, 'utf8')).toBe(newer);

  const onFile = vi.fn(() => expect(readFileSync(older.own, 'utf8')).toBe(newer));
  const journal = project.path('run', 'erasures.journal');
  const back = await restoreRun({ backup, run: project.path('older'), journal, onFile });
  expect(back).toMatchObject({ reapplied: 1 });
  expect(onFile).toHaveBeenCalled();
});

test('journals of which none goes on from the other are both named, and neither is touched', async () => {
  const { own } = await folderWith('other', 1);
  const changed = (await readFile(own, 'utf8')).replace('1', '2');
  await writeFile(own, changed);
  const journal = project.path('run', 'erasures.journal');
  await expect(
    restoreRun({ backup: project.path('saved'), run: project.path('other'), journal }),
  ).rejects.toThrow(`${own} and ${journal}: neither goes on from the other`);
  expect(await readdir(project.path('other'))).toEqual(['erasures.journal']);
  expect(await readFile(own, 'utf8')).toBe(changed);
});

test('a failure leaves the journal, and a restoration that was killed is begun anew', async () => {
  const { own, newer } = await folderWith('failed', 2);
  const options = { backup: project.path('saved'), run: project.path('failed') };
  const full = new Error('the disk is full');
  const onFile = () => {
    throw full;
  };
  await expect(restoreRun({ ...options, onFile })).rejects.toBe(full);
  expect(await readdir(options.run)).toEqual(['erasures.journal']);
  expect(await readFile(own, 'utf8')).toBe(newer);
  // Half of it stood.
  for (const name of [RESTORING, 'adapters']) await mkdir(project.path('failed', name));
  await writeFile(project.path('failed', RESTORING, 'run.json'), '{}');
  await writeFile(project.path('failed', 'adapters', 'half'), '');
  expect(await restoreRun(options)).toMatchObject({ reapplied: 1, newerJournal: true });
  expect(await readdir(project.path('failed', 'adapters'))).not.toContain('half');
  expect(await readFile(own, 'utf8')).toBe(newer);
  // Once it is a run, nothing in it is taken for what a kill left.
  await mkdir(project.path('failed', RESTORING));
  await expect(restoreRun(options)).rejects.toThrow(/failed: is not empty/);
  await (await open('failed')).close();
  expect(await isThere(project.path('failed', RESTORING))).toBe(false);
});

test('an erasure leaves no backup in the run folder, finished or not', async () => {
  await run.stageBackup();
  expect(await isThere(project.path('run', STAGED_BACKUP))).toBe(true);
  await run.erase([project.idsIn(1, 1)[0]!]);
  expect(await isThere(project.path('run', STAGED_BACKUP))).toBe(false);
  const making = run.stageBackup();
  await expect(run.stageBackup()).rejects.toMatchObject({ code: 'unavailable' });
  const [backup] = await Promise.allSettled([making, run.erase([project.idsIn(1, 1)[1]!])]);
  expect(backup).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
  expect(await isThere(project.path('run', STAGED_BACKUP))).toBe(false);
});

test('a backup of a closed run needs no device, and leaves the key out when asked to', async () => {
  await expect(backupRun(project.path('run'), project.path('offline'))).rejects.toMatchObject({
    code: 'held',
  });
  expect(await isThere(project.path('offline'))).toBe(false);
  await run.close();
  await run.close();
  const backup = await backupRun(project.path('run'), project.path('offline'), { signingKey: false });
  expect(backup).toMatchObject({ erasures: 4, signingKey: false });
  expect(await isThere(project.path('offline', 'signing-key.pem'))).toBe(false);
  expect(await isThere(project.path('saved', 'signing-key.pem'))).toBe(true);
  await expect(backupRun(project.path('run'), project.path('offline'))).rejects.toThrow(
    /offline: is there already/,
  );
  await expect(backupRun(project.path('nowhere'), project.path('x'))).rejects.toThrow(/there is no run here/);
});

test('what is not whole, or not of this run, is refused by name, and nothing appears', async () => {
  const damaged = project.path('damaged');
  const refused = async (
    message: RegExp,
    options: { journal?: string; backup?: string } = {},
  ): Promise<void> => {
    const into = project.path('refused');
    await expect(restoreRun({ backup: damaged, run: into, ...options })).rejects.toThrow(message);
    expect(await isThere(into)).toBe(false);
  };
  await refused(/damaged: is no backup, or one that was not finished/);
  await cp(project.path('saved'), damaged, { recursive: true });
  const [adapter] = await adapterFiles(project.path('saved'));
  const file = project.path('damaged', 'adapters', adapter!);
  const bytes = await readFile(file);
  await truncate(file, 100);
  await refused(new RegExp(`${adapter}: has 100 bytes`));
  await rm(file);
  await refused(new RegExp(`${adapter}: is missing`));
  await writeFile(file, bytes.with(200, bytes[200]! ^ 1));
  await refused(new RegExp(`${adapter}: was changed`), { journal: project.path('run', 'erasures.journal') });
  const list = await readFile(project.path('damaged', 'backup.json'), 'utf8');
  await writeFile(project.path('damaged', 'backup.json'), list.replace(adapter!, '../../elsewhere'));
  await refused(/backup\.json: was changed/);
  await writeFile(project.path('damaged', 'backup.json'), list.slice(0, -20));
  await refused(/backup\.json: is cut off/);

  const journal = project.path('other.journal');
  const backup = project.path('offline');
  await cp(project.path('saved', 'erasures.journal'), journal);
  await refused(/other\.journal: is older than the backup/, { journal, backup });
  await writeFile(
    journal,
    (await readFile(project.path('offline', 'erasures.journal'), 'utf8')).replace('1', '2'),
  );
  await refused(/other\.journal: does not go on from/, { journal, backup });
  await expect(restoreRun({ backup, run: project.path('run') })).rejects.toThrow(/run: is not empty/);
});
