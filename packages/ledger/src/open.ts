import { join, resolve } from 'node:path';
import { AdapterStore } from './adapter-store.ts';
import type { Database } from './database.ts';
import { LedgerError } from './errors.ts';
import { Ledger } from './ledger.ts';
import { acquireFile, acquireLock, type Lock } from './lock.ts';
import { openPglite } from './pglite.ts';
import { openPostgres } from './postgres.ts';
import type { ManifestOf } from './types.ts';

export interface OpenLedger {
  /** `file:` (PGlite in `<folder>/ledger`), `file:<path>` (PGlite there, relative to the folder), or `postgres://...[?schema=name]`. */
  store: string;
  /** The run folder: lock and adapters lie in it. Created when missing. */
  folder: string;
  /** Default true: no second process may open the run. False is for several workers on one PostgreSQL. */
  exclusive?: boolean;
  /** See `Ledger.useManifest`. */
  manifest?: ManifestOf;
}

/**
 * Opens a run's ledger, creating or upgrading its tables, and checks the whole log before anything is answered from it.
 * Throws LedgerHeldError when another process has it, LedgerCorruptError when it does not add up.
 */
export async function openLedger(options: OpenLedger): Promise<Ledger> {
  const folder = resolve(options.folder);
  const place = placeOf(options.store, folder);
  const exclusive = options.exclusive ?? true;
  if (!exclusive && place.kind === 'pglite') {
    throw new LedgerError(
      'invalid',
      'an embedded ledger cannot be shared between processes; use a postgres:// store',
    );
  }
  const locks: Lock[] = [];
  let database: Database | undefined;
  try {
    if (exclusive) locks.push(await acquireLock(folder));
    // Data outside the run folder needs a lock of its own: two folders may name it.
    if (place.kind === 'pglite' && place.path !== join(folder, 'ledger')) {
      locks.push(await acquireFile(`${place.path}.lock`, place.path));
    }
    database =
      place.kind === 'pglite'
        ? await openPglite(place.path)
        : await openPostgres(options.store, folder, exclusive);
    const adapters = new AdapterStore(join(folder, 'adapters'));
    const ledger = new Ledger({ folder, database, adapters, locks, manifest: options.manifest });
    await ledger.verifyChain();
    return ledger;
  } catch (error) {
    await database?.close().catch(() => {});
    for (const lock of locks.toReversed()) await lock.release();
    throw error;
  }
}

function placeOf(store: string, folder: string): { kind: 'pglite'; path: string } | { kind: 'postgres' } {
  if (/^postgres(ql)?:\/\//.test(store)) return { kind: 'postgres' };
  if (!store.startsWith('file:')) {
    // It is not shown: with a slip in its first word it may still hold a password.
    throw new LedgerError('invalid', 'store is neither file:, file:<path> nor postgres://...');
  }
  const path = store.slice('file:'.length);
  return { kind: 'pglite', path: path === '' ? join(folder, 'ledger') : resolve(folder, path) };
}
