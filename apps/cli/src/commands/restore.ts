import type { Restored } from '@s3t/unlearner';
import type { Command } from 'commander';
import { JSON_OUTPUT, type RunOptions } from '../options.ts';
import { plural, short } from '../terminal/format.ts';
import { print, printJson, say } from '../terminal/print.ts';
import { Progress } from '../terminal/progress.ts';

interface Options extends RunOptions {
  journal?: string;
}

/** `s3t restore`: puts a backup back, and erases again what was erased since. */
export function addRestore(program: Command): void {
  program
    .command('restore')
    .description('put a backup back, and carry out again what was erased since')
    .argument('<dir>', 'the folder that s3t backup wrote')
    .requiredOption('--run <dir>', 'the run folder to be: new, empty, or with only erasures.journal in it')
    .option(
      '--journal <file>',
      "the run's newest erasures.journal, unless the run folder has a newer one (default: that, else that of the backup)",
    )
    .option(...JSON_OUTPUT)
    .action(restore);
}

async function restore(dir: string, { run, json, journal }: Options): Promise<void> {
  const { restoreRun } = await import('@s3t/unlearner');
  const progress = new Progress();
  const onFile = (done: number, total: number) => progress.update({ label: 'restore', done, total });
  const restored = await restoreRun({ backup: dir, run, journal, onFile }).finally(() => progress.clear());
  if (json) printJson(restored);
  else print(render(run, restored));
  if (!restored.newerJournal)
    say(
      `no newer journal was given: what was erased after ${restored.at} is not known and is back; see --journal`,
    );
}

function render(run: string, { at, version, manifest, reapplied, destroyed }: Restored): string {
  const again =
    reapplied === 0
      ? 'nothing was erased since'
      : `${plural(reapplied, 'erasure')} since ${reapplied === 1 ? 'is' : 'are'} carried out again, ${plural(destroyed, 'adapter')} destroyed`;
  return `${run}: as it was at ${at}, version ${version} (${short(manifest)}); ${again}`;
}
