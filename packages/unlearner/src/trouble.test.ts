import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdapterStore, Ledger, LedgerError, openLedger, StoreWriteError } from '@s3t/ledger';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { WorkChild } from './testing/child.ts';
import { sharedDevice } from './testing/device.ts';
import { imageOf, madeRecord, madeRecords } from './testing/pictures.ts';
import { type ConfigChange, Project } from './testing/project.ts';
import { refused } from './testing/refused.ts';
import {
  adapterFiles,
  expectOnlyActiveFiles,
  expectSame,
  snapshotOf,
  weightsOf,
} from './testing/snapshot.ts';
import { tinyBase, writeBase } from './testing/tiny-base.ts';
import { Unlearner } from './unlearner.ts';

const device = sharedDevice();
let project: Project;

beforeAll(async () => {
  project = await Project.make({ records: madeRecords(24) });
  const run = await project.open('trained', { device: device() });
  await run.train();
  await run.close();
});
afterAll(() => project[Symbol.asyncDispose]());

describe('an erasure', () => {
  test('that is refused changes nothing', async () => {
    await project.copy('trained', 'refusals');
    const run = await project.open('refusals', { device: device() });
    const first = await run.erase(['person-3'], { idempotencyKey: 'a' });
    const before = await run.status();
    const answer = await run.predict([imageOf(madeRecord(0))]);
    await refused(run.erase([]), 'usage', 'records');
    await refused(
      run.erase(['person-4', 'nobody', 'no one']),
      'unknown-record',
      '2 of 3',
      '"nobody", "no one"',
      'nothing was erased',
    );
    await refused(run.erase(['\ud800']), 'unknown-record', 'records.0');
    await refused(run.erase(['']), 'unknown-record');
    await refused(run.erase([4 as unknown as string]), 'unknown-record', 'records.0');
    await refused(
      run.erase(['person-4', 'person-3']),
      'already-erased',
      '1 of 2',
      '"person-3"',
      'erased before',
    );
    await refused(run.erase(['person-4'], { idempotencyKey: 'a' }), 'idempotency-conflict', first.erasure);
    await refused(
      run.erase(Array.from({ length: 30 }, (_, i) => `x-${i}`)),
      'unknown-record',
      '30 of 30',
      '"x-9", ...',
    );
    expect(await run.status()).toEqual(before);
    expect(await run.predict([imageOf(madeRecord(0))])).toEqual(answer);
    await run.close();
  });

  test('of the same records twice in one request, in any order, is one', async () => {
    await project.copy('trained', 'doubles');
    const run = await project.open('doubles', { device: device() });
    const receipt = await run.erase(['person-7', 'person-8', 'person-7'], { idempotencyKey: 'k' });
    expect(receipt.records).toBe(2);
    expect(await run.erase(['person-8', 'person-7'], { idempotencyKey: 'k' })).toEqual({
      ...receipt,
      repeated: true,
    });
    expect((await run.status()).erased).toBe(2);
    await run.close();
  });

  test('that is only tried changes nothing, and tells what would happen', async () => {
    await project.copy('trained', 'tries');
    const run = await project.open('tries', { device: device() });
    const before = await run.status();
    const trial = await run.erase(['person-9'], { dryRun: true });
    expect(trial).toMatchObject({
      dryRun: true,
      records: 1,
      before: { version: before.version, manifest: before.manifest },
    });
    expect(await run.status()).toEqual(before);
    expect(await run.receipt(trial.erasure)).toBeNull();
    await refused(run.erase(['nobody'], { dryRun: true }), 'unknown-record', '"nobody"');
    const receipt = await run.erase(['person-9']);
    expect(receipt.deactivated).toEqual(trial.deactivated);
    expect(receipt.after).toEqual(trial.after);
    await run.close();
  });

  test('leaves no digest in the ledger that anybody could make from a guessed id', async () => {
    const digests: string[] = [];
    for (const name of ['salt', 'other-salt']) {
      const run = await project.open(name, { device: device() });
      const { erasure } = await run.erase(['person-2']);
      await run.close();
      const ledger = await openLedger({ store: 'file:', folder: project.path(name) });
      digests.push((await ledger.erasure(erasure))!.requestDigest);
      await ledger.close();
    }
    // The same request in two runs on the same data.
    expect(digests[0]).not.toBe(digests[1]);
  });
});

describe('a run folder', () => {
  test('without a run', async () => {
    await refused(
      Unlearner.open({ run: project.path('empty'), device: device() }),
      'usage',
      'empty',
      'no run here',
    );
    expect(existsSync(project.path('empty'))).toBe(false);
  });

  test('that another process holds', async () => {
    await project.copy('trained', 'held');
    const child = new WorkChild();
    child.begin({ command: 'hold', run: project.path('held') });
    await child.said('opened');
    await refused(project.open('held', { device: device() }), 'held', 'held', `process ${child.process.pid}`);
    await child.kill();
    const run = await project.open('held', { device: device() });
    expect((await run.status()).missing).toBe(0);
    // Nor twice in one process.
    await refused(project.open('held', { device: device() }), 'held', `process ${process.pid}`);
    await run.close();
  });

  test('in which a process was killed as it made a file for kept activations is tidied', async () => {
    await project.copy('trained', 'left');
    for (const name of ['kept-activations-7.tmp', 'kept-activations-mine.tmp'])
      await writeFile(project.path('left', name), '');
    await (await project.open('left', { device: device() })).close();
    const files = await readdir(project.path('left'));
    expect(files.filter((name) => name.endsWith('.tmp'))).toEqual(['kept-activations-mine.tmp']);
  });

  test('of another configuration names the field', async () => {
    const cases: [ConfigChange, string][] = [
      [{ shards: 3 }, 'shards: is 3, but'],
      [{ training: { seed: 2 } }, 'training.seed: is 2, but'],
      [{ lora: { targets: ['query'] } }, 'lora.targets: is ["query"], but'],
      [{ data: { eval: undefined } }, 'data.eval: is missing, but'],
      [{ training: { clipNorm: 1 } }, 'training.clipNorm: is 1, but'],
      // It may hold a password.
      [{ store: 'file:elsewhere' }, 'another.json: store: is not the one that the run in'],
    ];
    for (const [change, problem] of cases) {
      const config = await project.writeConfig('another.json', change);
      await refused(
        project.open('trained', { device: device(), config }),
        'config',
        'another.json',
        problem,
        'trained',
      );
    }
    // What a default fills in is no difference.
    const config = await project.writeConfig('another.json', {
      training: { weightDecay: 0.01 },
      store: 'file:',
    });
    await (await project.open('trained', { device: device(), config })).close();
  });

  test('moved together with its project', async () => {
    await using moved = await Project.make({ records: madeRecords(24) });
    await project.copy('trained', 'moving');
    execFileSync('cp', ['-r', project.path('moving'), moved.path('moving')]);
    await rm(project.path('moving'), { recursive: true });
    const away = project.path('base-away');
    execFileSync('mv', [project.path('base'), away]);
    try {
      const run = await moved.open('moving', { device: device() });
      await run.erase(['person-0']);
      await run.repair();
      expect((await run.verify()).identical).toBe(true);
      await run.close();
    } finally {
      execFileSync('mv', [away, project.path('base')]);
    }
  });

  test('whose base changed trains nothing and answers nothing, but erases', async () => {
    await using other = await Project.make({ records: madeRecords(24) });
    const run = await other.open('run', { device: device() });
    await run.train();
    await run.close();
    await writeBase(other.path('base'), tinyBase({}, 2));
    const changed = await other.open('run', { device: device() });
    await refused(changed.train(), 'base', 'base changed');
    await refused(changed.predict([imageOf(madeRecord(0))]), 'base', 'changed');
    await refused(changed.evaluate(), 'base', 'changed');
    expect((await changed.erase(['person-0'])).records).toBe(1);
    await changed.close();
    await writeBase(other.path('base'), tinyBase());
    const restored = await other.open('run', { device: device() });
    await restored.repair();
    expect((await restored.verify()).identical).toBe(true);
    await restored.close();
  });

  test('whose ledger was tampered with serves nothing', async () => {
    await project.copy('trained', 'tampered');
    const ledger = await openLedger({ store: 'file:', folder: project.path('tampered') });
    const { database } = ledger as unknown as {
      database: { db: { execute(sql: string): Promise<unknown> } };
    };
    await database.db.execute(`update entries set payload = '{}' where seq = 2`);
    await ledger.close();
    for (let attempt = 0; attempt < 2; attempt++)
      await refused(project.open('tampered', { device: device() }), 'corrupt', 'entry 2 was changed');
  });

  test('whose files are broken serves nothing', async () => {
    await project.copy('trained', 'broken');
    await writeFile(project.path('broken', 'run.json'), '{"store"');
    await refused(project.open('broken', { device: device() }), 'corrupt', 'run.json');
    await project.copy('trained', 'lost');
    const { shards } = await project.open('lost', { device: device() }).then(async (run) => {
      const status = await run.status();
      await run.close();
      return status;
    });
    const weights = shards[0]!.sequences[0]!.stages[0]!.weights!;
    await rm(project.path('lost', 'adapters', `${weights}.safetensors`));
    await refused(project.open('lost', { device: device() }), 'corrupt', weights, 'missing');
  });

  test('that cannot be made', async () => {
    await writeFile(project.path('file'), 'not a folder');
    const run = join(project.path('file'), 'run');
    await refused(Unlearner.open({ run, config: project.configFile, device: device() }), 'store', 'ENOTDIR');
  });
});

describe('what goes wrong in the middle', () => {
  afterEach(() => vi.restoreAllMocks());

  test('a training that diverges says so, and the run goes on', async () => {
    const config = await project.writeConfig('wild.json', { training: { learningRate: 1e30, epochs: 4 } });
    const run = await project.open('wild', { device: device(), config });
    await refused(run.train(), 'config', 'training.learningRate');
    expect((await run.status()).missing).toBe(12);
    expect(run.servedVersion).toBeNull();
    await run.close();
  });

  test('an error of the ledger stops the training, and the same call goes on', async () => {
    const run = await project.open('hiccup', { device: device() });
    vi.spyOn(Ledger.prototype, 'publishStage').mockRejectedValueOnce(
      Object.assign(new Error('ENOSPC: no space left on device, write'), {
        errno: -28,
        syscall: 'write',
        code: 'ENOSPC',
      }),
    );
    await refused(run.train(), 'store', 'ENOSPC');
    await run.train();
    const trained = await project.open('trained', { device: device() });
    expectSame(await snapshotOf(run), await snapshotOf(trained));
    await trained.close();
    await run.close();
  });

  test('a stage that is stored and not published is destroyed, by the next erasure at the latest', async () => {
    await project.copy('trained', 'unpublished');
    await using run = await project.open('unpublished', { device: device() });
    const [first, second] = project.idsIn(0, 0) as [string, string];
    await run.erase([first]);
    const noSpace = () => Object.assign(new Error('ENOSPC: write'), { errno: -28, syscall: 'write' });
    const { publishStage } = Ledger.prototype;
    const publish = vi.spyOn(Ledger.prototype, 'publishStage').mockRejectedValueOnce(noSpace());
    await refused(run.repair(), 'store', 'ENOSPC');
    await expectOnlyActiveFiles(project.path('unpublished'), run);
    // Written, and then its folder cannot be synced.
    const { put } = AdapterStore.prototype;
    vi.spyOn(AdapterStore.prototype, 'put').mockImplementationOnce(async function (
      this: AdapterStore,
      bytes,
    ) {
      throw new StoreWriteError(this.path(await put.call(this, bytes)), new Error('EIO: fsync'));
    });
    await refused(run.repair(), 'store', 'EIO');
    await expectOnlyActiveFiles(project.path('unpublished'), run);
    // The ledger cannot be asked which stages are active either.
    publish.mockImplementationOnce(async () => {
      vi.spyOn(Ledger.prototype, 'activeStages').mockRejectedValueOnce(noSpace());
      throw noSpace();
    });
    await refused(run.repair(), 'store', 'ENOSPC');
    const active = new Set(weightsOf(await run.status()).values());
    expect(await adapterFiles(project.path('unpublished'))).toHaveLength(active.size + 1);
    const { deactivated } = await run.erase([second]);
    // No row named it.
    expect(deactivated).toEqual([]);
    await expectOnlyActiveFiles(project.path('unpublished'), run);
    // Refused, where a stage of another shard has the same id and weights.
    publish.mockImplementationOnce(async function (this: Ledger, input) {
      await publishStage.call(this, input);
      return { published: false, reason: 'superseded' };
    });
    await run.repair();
    expect((await run.verify({ fromScratch: true })).identical).toBe(true);
  });

  test('an erasure of which the database does not say that it holds it is finished by the next', async () => {
    await project.copy('trained', 'unknown');
    const run = await project.open('unknown', { device: device() });
    await run.erase([project.idsIn(0, 0)[0]!]);
    // From here on the data is in memory, and what is kept of it.
    await run.train();
    const { erase } = Ledger.prototype;
    vi.spyOn(Ledger.prototype, 'erase').mockImplementationOnce(async function (this: Ledger, input) {
      await erase.call(this, input);
      throw new LedgerError('database', 'the connection was lost before the answer came');
    });
    const id = project.idsIn(1, 2)[0]!;
    const before = await run.status();
    await refused(run.erase([id], { idempotencyKey: 'k' }), 'store', 'lost');
    expect(run.servedVersion).toBe(before.version);
    const receipt = await run.erase([id], { idempotencyKey: 'k' });
    expect(receipt).toMatchObject({ records: 1, repeated: true, before: { version: before.version } });
    expect(run.servedVersion).toBe(receipt.after.version);
    // Nothing that is kept of the record is learnt from.
    await run.repair();
    expect((await run.verify({ fromScratch: true })).identical).toBe(true);
    await run.close();
  });

  test('a verification that is stopped between two shards says why, and closes no file twice', async () => {
    await project.copy('trained', 'stopped');
    const config = await project.writeConfig('on-disk.json', { training: { keep: { where: 'disk' } } });
    await using run = await project.open('stopped', { device: device(), config });
    const stop = new AbortController();
    // The activations of the shard before were closed by then, and those of this one are not computed yet.
    run.on((event) => {
      if (event.type === 'stage-started' && event.shard === 1) stop.abort(new Error('no more'));
    });
    await expect(run.verify({ fromScratch: true, signal: stop.signal })).rejects.toThrow('no more');
  });

  /** A file system so small that it is soon full; null where this process may not make one. */
  async function tinyDisk(folder: string, bytes: number): Promise<(() => void) | null> {
    await mkdir(folder, { recursive: true });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' });
    } catch {
      return null;
    }
    return () => execFileSync('umount', ['-l', folder]);
  }

  test('a full disk while training', async ({ skip }) => {
    const adapters = project.path('full', 'adapters');
    const umount = await tinyDisk(adapters, 4 * 4096);
    if (!umount) return skip('mounting takes root');
    const run = await project.open('full', { device: device() });
    try {
      await refused(run.train(), 'store', adapters, 'ENOSPC');
      const { missing, version } = await run.status();
      expect(missing).toBeLessThan(12);
      // What was trained is served, and erasing works on a full disk.
      expect((await run.predict([imageOf(madeRecord(0))])).version).toBe(version);
      expect((await run.erase([project.idsIn(0, 0)[0]!])).deactivated.length).toBeGreaterThan(0);
      execFileSync('mount', ['-o', `remount,size=${2 ** 20}`, adapters], { stdio: 'ignore' });
      await run.train();
      expect((await run.status()).missing).toBe(0);
      expect((await run.verify({ fromScratch: true })).identical).toBe(true);
    } finally {
      await run.close();
      umount();
    }
  });

  test('a disk too full for the ledger', async ({ skip }) => {
    const ledger = project.path('crowded', 'ledger');
    const umount = await tinyDisk(ledger, 300 * 2 ** 20);
    if (!umount) return skip('mounting takes root');
    try {
      const run = await project.open('crowded', { device: device() });
      // Takes all the room that is left: whatever the ledger has to add, it cannot.
      const filler = join(ledger, 'filler');
      execFileSync('sh', ['-c', `dd if=/dev/zero of=${filler} bs=4096 2>/dev/null || true`]);
      await refused(run.train(), 'store', 'space');
      await run.close();
      await rm(filler);
      const again = await project.open('crowded', { device: device() });
      await again.train();
      const trained = await project.open('trained', { device: device() });
      expectSame(await snapshotOf(again), await snapshotOf(trained));
      await trained.close();
      await again.close();
    } finally {
      umount();
    }
  });
});
