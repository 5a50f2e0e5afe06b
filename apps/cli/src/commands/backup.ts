import { cp, lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Backup } from '@s3t/unlearner';
import type { Command } from 'commander';
import { CommandError, UsageError } from '../errors.ts';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { heldBy } from '../run-access.ts';
import { bytes, plural, short } from '../terminal/format.ts';
import { print, printJson, say } from '../terminal/print.ts';
import { Progress } from '../terminal/progress.ts';

interface Options extends RunOptions {
  signingKey: boolean;
}

/** `s3t backup`: a copy of a run, of one moment, whether or not a server has it. */
export function addBackup(program: Command): void {
  program
    .command('backup')
    .description('copy a run, of one moment, while a server has it or not; s3t restore puts it back')
    .argument('<dir>', 'the folder to write; it must not be there yet')
    .requiredOption(...RUN)
    .option('--no-signing-key', 'leave out the key that signs receipts')
    .option(...JSON_OUTPUT)
    .action(backup);
}

async function backup(dir: string, { run, json, signingKey }: Options): Promise<void> {
  const into = resolve(dir);
  await assertNew(dir, into);
  const { backupRun } = await import('@s3t/unlearner');
  const progress = new Progress();
  const onFile = (done: number, total: number) => progress.update({ label: 'backup', done, total });
  const made = await heldBy(
    () => backupRun(run, into, { signingKey, onFile }).finally(() => progress.clear()),
    async (server) => {
      try {
        const staged = await server.backup({ signingKey, onFile });
        await moved(run, into, (done) =>
          progress.update({ label: 'copy', done: Math.min(done, staged.files), total: staged.files }),
        );
        return staged;
      } finally {
        progress.clear();
      }
    },
  );
  if (json) printJson(made);
  else print(render(dir, made));
  if (!made.signingKey) say('the key that signs receipts is not in it: keep it elsewhere');
}

async function assertNew(dir: string, into: string): Promise<void> {
  const names = await readdir(into).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (names.length > 0)
    throw new UsageError(`${dir}: is there already; a backup is written into a new or empty folder`);
}

/**
 * Moves what the server wrote to where it belongs.
 * @param onFile told how many files were begun, where they have to be copied
 */
async function moved(run: string, into: string, onFile: (begun: number) => void): Promise<void> {
  const { STAGED_BACKUP } = await import('@s3t/unlearner');
  const staged = join(run, STAGED_BACKUP);
  try {
    await mkdir(dirname(into), { recursive: true });
    await rename(staged, into).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EXDEV') throw error;
      // Another disk. Under its own name it stands only once it is whole.
      const beside = `${into}.part`;
      await rm(beside, { recursive: true, force: true });
      try {
        let begun = 0;
        const filter = async (path: string): Promise<boolean> => {
          if ((await lstat(path)).isFile()) onFile(++begun);
          return true;
        };
        await cp(staged, beside, { recursive: true, filter });
        await rename(beside, into);
      } finally {
        await rm(beside, { recursive: true, force: true });
      }
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new CommandError(
      `${staged}: is gone: records were erased meanwhile, or the server ended; back up again`,
    );
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

function render(dir: string, { version, manifest, erasures, files, bytes: size }: Backup): string {
  return `${dir}: ${plural(files, 'file')}, ${bytes(size)}, of version ${version} (${short(manifest)}) after ${plural(erasures, 'erasure')}`;
}
