import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { CommandError } from '../errors.ts';
import { CONFIG, FOLDER, ROOT } from './settings.ts';

/** Says that a folder is a demo's, and whose: the process id of the demo that works in it, or did last. */
const MARK = 'demo.pid';

/**
 * Empties the demo's folder and writes the configuration into it. Returns the configuration's path.
 *
 * @throws CommandError if another demo works there, or it holds something that no demo wrote
 */
export async function claimFolder(folder: string): Promise<string> {
  const mark = join(folder, MARK);
  if (existsSync(mark)) {
    const pid = Number(readFileSync(mark, 'utf8'));
    if (pid !== process.pid && isRunning(pid)) {
      throw new CommandError(
        `${folder}: another demo is at work there (process ${pid}); wait for it, or use another --folder`,
      );
    }
  } else if (folder !== FOLDER && existsSync(folder) && readdirSync(folder).length > 0) {
    throw new CommandError(
      `${folder}: holds something that is not a demo's; a demo removes what is in its folder`,
    );
  }
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(mark, `${process.pid}\n`);
  const config = join(folder, 's3t.config.json');
  const base = relative(folder, join(ROOT, CONFIG.base)).replaceAll('\\', '/');
  await writeFile(config, `${JSON.stringify({ ...CONFIG, base }, null, 2)}\n`);
  return config;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
