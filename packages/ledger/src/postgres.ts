import { createHash } from 'node:crypto';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { type Database, type Db, migrationsFolder } from './database.ts';
import { causeMessage, LedgerError, LedgerHeldError } from './errors.ts';
import * as schema from './schema.ts';

/**
 * Opens a run in a PostgreSQL database: one run per schema (`?schema=name` in the URL, created when missing; otherwise the
 * connection's default). `exclusive` takes a session-level advisory lock that goes when this process does.
 */
export async function openPostgres(store: string, folder: string, exclusive: boolean): Promise<Database> {
  const url = parsed(store);
  const name = url.searchParams.get('schema');
  url.searchParams.delete('schema');
  const connection = {
    connectionString: url.href,
    keepAlive: true,
    ...(name === null
      ? {}
      : { options: `-c search_path=${pg.escapeIdentifier(name).replaceAll(' ', '\\ ')}` }),
  };
  const holder = clientOf(connection);
  let lost: string | null = null;
  holder.on('error', (error) => {
    lost = error.message;
  });
  const pool = new pg.Pool({ ...connection, max: 4 });
  pool.on('error', () => {}); // an idle connection that breaks is replaced; one in use rejects its query
  const close = async (): Promise<void> => {
    await Promise.allSettled([pool.end(), holder.end()]);
  };
  try {
    await holder.connect();
    if (name !== null) await holder.query(`create schema if not exists ${pg.escapeIdentifier(name)}`);
    const { rows } = await holder.query<{ schema: string }>('select current_schema() as schema');
    const of = rows[0]?.schema ?? 'public';
    // Two processes that open a new database together must not both create its tables.
    await holder.query('select pg_advisory_lock($1::bigint)', [lockKey(`migrate ${of}`)]);
    const db = drizzle({ client: pool, schema });
    await migrate(db, { migrationsFolder, ...(name === null ? {} : { migrationsSchema: name }) });
    await holder.query('select pg_advisory_unlock($1::bigint)', [lockKey(`migrate ${of}`)]);
    if (exclusive) {
      const taken = await holder.query<{ held: boolean }>('select pg_try_advisory_lock($1::bigint) as held', [
        lockKey(of),
      ]);
      if (taken.rows[0]?.held !== true) throw held(folder, url);
    }
    return {
      db: db as unknown as Db,
      folder: null,
      check: () => {
        if (lost !== null && exclusive) {
          throw new LedgerError(
            'lock-lost',
            `the connection that holds the ledger's lock was lost (${lost}); open it again`,
          );
        }
      },
      checkpoint: async () => {
        await pool.query('analyze'); // a checkpoint is the server's business
      },
      close,
    };
  } catch (error) {
    await close();
    if (error instanceof LedgerError) throw error;
    throw new LedgerError('open', `cannot open the ledger at ${shown(url)}: ${causeMessage(error)}`, {
      cause: error,
    });
  }
}

/** What a URL that is none holds may be a password: it goes into no message, and into no cause. */
function parsed(store: string): URL {
  if (URL.canParse(store)) return new URL(store);
  throw new LedgerError(
    'open',
    'cannot open the ledger: store is no URL; write / @ : # in a password as %2F %40 %3A %23',
  );
}

/** Here its URL is read. */
function clientOf(connection: pg.ClientConfig): pg.Client {
  try {
    return new pg.Client(connection);
  } catch {
    throw new LedgerError(
      'open',
      'cannot open the ledger: store has a % that stands for no letter; write % in a password as %25',
    );
  }
}

function held(folder: string, url: URL): LedgerHeldError {
  const hint = `its lock in ${shown(url)} is taken`;
  return new LedgerHeldError({ folder, pid: null, host: null, url: null, hint });
}

/** A URL without its password. */
function shown(url: URL): string {
  return `postgres://${url.host}${url.pathname}`;
}

/** Advisory locks are numbers, shared by everyone in the database: 63 bits of a digest of our name for it. */
function lockKey(name: string): string {
  const digest = createHash('sha256').update(`s3t ledger ${name}`).digest();
  return (digest.readBigUInt64BE() >> 1n).toString();
}
