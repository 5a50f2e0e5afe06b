import type { Export } from '@s3t/unlearner';
import type { Command } from 'commander';
import { catchInterrupts } from '../interrupt.ts';
import { integer, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withFreeRun } from '../run-access.ts';
import { plural, short } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';

interface Options extends RunOptions {
  shard: number;
  depth?: number;
  merge?: boolean;
}

/** `s3t export`: what a shard serves, for PEFT and transformers. */
export function addExport(program: Command): void {
  program
    .command('export')
    .description('write what a shard serves as a PEFT adapter; a later erasure does not reach it there')
    .argument('<out>', 'the folder to write; it must not be there yet')
    .requiredOption(...RUN)
    .requiredOption('--shard <n>', 'the shard, counted from 0', integer(0))
    .option('--depth <n>', 'so many stages from the top (default: all it serves)', integer(1))
    .option('--merge', 'write the whole model in Hugging Face layout, with the stages merged in')
    .option(...JSON_OUTPUT)
    .action(exportShard);
}

async function exportShard(out: string, { run, json, ...options }: Options): Promise<void> {
  using interrupts = catchInterrupts('stopping; nothing is left of the export');
  const exported = await withFreeRun(
    run,
    (unlearner) => unlearner.export({ ...options, out, signal: interrupts.signal }),
    () => 'export from a copy of it: s3t backup, s3t restore',
  ).catch((error) => interrupts.rethrow(error, 'stopped: nothing was exported'));
  if (json) printJson(exported);
  else print(render(exported));
}

function render({ out, kind, shard, depth, version, manifest }: Export): string {
  const what = kind === 'model' ? 'the merged model' : 'a PEFT adapter';
  return `${out}: ${what} of shard ${shard}, ${plural(depth, 'stage')}, version ${version} (${short(manifest)})`;
}
