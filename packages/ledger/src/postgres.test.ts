import { rm } from 'node:fs/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { type Ledger, LedgerHeldError, openLedger } from './index.ts';
import { erasureSuite } from './testing/erasure-suite.ts';
import { logSuite } from './testing/log-suite.ts';
import { startPostgres } from './testing/postgres.ts';
import { digest, manifestOf, temporaryFolder, testRecords, testRun } from './testing/run.ts';
import { runSuite } from './testing/run-suite.ts';
import type { Stand } from './testing/stand.ts';

const server = await startPostgres();
const reason = 'reason' in server ? server.reason : null;
const url = 'url' in server ? server.url : '';
if (reason !== null) console.warn(`PostgreSQL tests are skipped: no server can be started here (${reason})`);

const folders: string[] = [];
let schemas = 0;
const stores = new Map<string, string>();

async function open(exclusive = true, folder?: string): Promise<Ledger> {
  const at = folder ?? (await temporaryFolder());
  if (folder === undefined) {
    folders.push(at);
    stores.set(at, `${url}?schema=run_${++schemas}`);
  }
  return openLedger({ store: stores.get(at) as string, folder: at, exclusive, manifest: manifestOf });
}

afterAll(async () => {
  if ('stop' in server) await server.stop();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

describe.skipIf(reason !== null)(`on PostgreSQL${reason === null ? '' : `: ${reason}`}`, () => {
  const stand: Stand = {
    fresh: () => open(),
    reopen: async (ledger) => {
      await ledger.close();
      return open(true, ledger.folder);
    },
    done: (ledger) => ledger.close(),
  };
  runSuite(stand);
  erasureSuite(stand);
  logSuite(stand);

  test('a second exclusive process is refused, from another folder too', async () => {
    await using first = await open();
    await expect(open(true, first.folder)).rejects.toThrow(LedgerHeldError);
    const elsewhere = await temporaryFolder();
    folders.push(elsewhere);
    stores.set(elsewhere, stores.get(first.folder) as string);
    await expect(open(true, elsewhere)).rejects.toMatchObject({
      code: 'held',
      message: expect.not.stringContaining('password'),
    });
    await first.close();
    await (await open(true, elsewhere)).close();
  });

  test('several processes may share a run: one erasure each, one chain', async () => {
    const first = await open();
    await first.createRun(testRun(60));
    await first.close();
    const shared = await Promise.all([0, 1, 2].map(() => open(false, first.folder)));
    const keys = testRecords(60).map(({ key }) => key);
    const work = Array.from({ length: 30 }, (_, index) => {
      const idempotencyKey = `request ${index % 15}`;
      const of = keys[index % 15] as string;
      const ledger = shared[index % 3] as Ledger;
      return ledger.erase({ keys: [of], requestDigest: digest(of), receivedAt: 1, idempotencyKey });
    });
    const results = await Promise.all(work);
    expect(results.filter(({ repeated }) => !repeated)).toHaveLength(15);
    expect(await shared[0]?.verifyChain()).toBe(16);
    for (const ledger of shared) await ledger.close();
  });

  test('an unreachable server is one clear line without the password', async () => {
    const store = 'postgres://someone:secret@127.0.0.1:1/none';
    const folder = await temporaryFolder();
    folders.push(folder);
    await expect(openLedger({ store, folder })).rejects.toMatchObject({
      ...{
        code: 'open',
        message: expect.stringMatching(/^cannot open the ledger at postgres:\/\/127.0.0.1:1\/none: /),
      },
    });
    await expect(openLedger({ store, folder })).rejects.not.toMatchObject({
      message: expect.stringContaining('secret'),
    });
  });
});
