import { recordKey } from '@s3t/algorithm';
import { Device } from '@s3t/engine';
import { openLedger } from '@s3t/ledger';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { audit } from './audit.ts';
import { readPublicKey, readStatus } from './read-run.ts';
import { manifestFunction } from './setting.ts';
import { sharedDevice } from './testing/device.ts';
import { madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import { refused } from './testing/refused.ts';
import type { Status } from './types.ts';
import { Unlearner } from './unlearner.ts';

const device = sharedDevice();
let project: Project;
let status: Status;
let publicKey: string;

beforeAll(async () => {
  project = await Project.make({ records: madeRecords(24) });
  await using run = await project.open('run', { device: device() });
  await run.train();
  await run.erase(['person-3']);
  status = await run.status();
  publicKey = await run.log.publicKey();
});
afterAll(() => project[Symbol.asyncDispose]());
afterEach(() => vi.restoreAllMocks());

test('status and key are read from the ledger, without a device', async () => {
  const open = vi.spyOn(Device, 'open');
  expect(status.missing).toBeGreaterThan(0);
  expect(await readStatus(project.path('run'))).toEqual(status);
  expect(await readPublicKey(project.path('run'))).toBe(publicKey);
  expect(open).not.toHaveBeenCalled();
});

test('no device is opened for a run that is not there, or that another process holds', async () => {
  const open = vi.spyOn(Device, 'open');
  const none = project.path('none');
  for (const work of [readStatus, readPublicKey, (run: string) => audit({ run })])
    await refused(work(none), 'usage', `${none}: there is no run here`);
  await using _ = await project.open('run', { device: device() });
  await refused(Unlearner.open({ run: project.path('run') }), 'held');
  await refused(readStatus(project.path('run')), 'held');
  expect(open).not.toHaveBeenCalled();
});

test('an erasure that a crash left is not passed over', async () => {
  await project.copy('run', 'crashed');
  const folder = project.path('crashed');
  {
    await using ledger = await openLedger({ store: 'file:', folder });
    ledger.useManifest(manifestFunction({ ...(await ledger.run())!, ensemble: undefined }));
    await ledger.erase({
      keys: [recordKey('person-4')],
      requestDigest: 'a'.repeat(64),
      receivedAt: Date.now(),
    });
  }
  expect(await readStatus(folder)).toBe(null);
});
