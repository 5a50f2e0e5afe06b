import type { Command } from 'commander';
import { catchInterrupts } from '../interrupt.ts';
import { JSON_OUTPUT } from '../options.ts';
import { plural } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { Progress } from '../terminal/progress.ts';

interface Options {
  base: string;
  json?: boolean;
}

/** `s3t import`: a base out of a base and a PEFT adapter. */
export function addImport(program: Command): void {
  program
    .command('import')
    .description(
      'merge a PEFT adapter into its base, for runs to build on; no erasure reaches what it learnt',
    )
    .argument('<adapter>', 'the folder of the adapter, as PEFT saves it')
    .argument('<out>', 'the folder to write; it must not be there yet')
    .requiredOption('--base <base>', 'the base of the adapter: a folder, a hub id or a .gguf file')
    .option(...JSON_OUTPUT)
    .action(importAdapter);
}

async function importAdapter(adapter: string, out: string, { base, json }: Options): Promise<void> {
  // Only here: it brings the engine, which `s3t --help` can do without.
  const { importBase } = await import('@s3t/unlearner');
  using interrupts = catchInterrupts('stopping; nothing is left of the import');
  const progress = new Progress();
  const imported = await importBase({
    ...{ base, adapter, out, signal: interrupts.signal },
    onDownload: ({ file, bytes, total }) =>
      progress.update({ label: 'download', done: bytes, total, note: file }),
  })
    .finally(() => progress.clear())
    .catch((error) => interrupts.rethrow(error, 'stopped: nothing was imported'));
  if (json) printJson({ out, ...imported });
  else print(`${out}: a base with ${plural(imported.merged.length, 'layer')} changed by ${adapter}`);
}
