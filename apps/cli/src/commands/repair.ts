import type { Command } from 'commander';
import { CommandError } from '../errors.ts';
import { catchInterrupts, type Interrupts } from '../interrupt.ts';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import type { RunServer } from '../remote.ts';
import { withRunOrServer } from '../run-access.ts';
import { Progress } from '../terminal/progress.ts';
import { printWork, STOP_NOTE, trainMissing, type WorkResult } from '../work.ts';

/** `s3t repair`: trains what erasures took away, on the records that remain. */
export function addRepair(program: Command): void {
  program
    .command('repair')
    .description('train the stages that erasures took away, on the records that remain')
    .requiredOption(...RUN)
    .option(...JSON_OUTPUT)
    .action(repair);
}

async function repair({ run, json }: RunOptions): Promise<void> {
  using interrupts = catchInterrupts(STOP_NOTE);
  const result = await withRunOrServer(
    run,
    (unlearner) => trainMissing(unlearner, 'repair', interrupts),
    (server) => repairThere(server, interrupts),
  );
  printWork(result, { run, json });
}

async function repairThere(server: RunServer, interrupts: Interrupts): Promise<WorkResult> {
  const progress = new Progress();
  const started = performance.now();
  const before = await server.status();
  const { failed } = await server
    .repair(({ done, total }) => progress.update({ label: 'repair', done, total }), interrupts.signal)
    .catch((error: unknown) => {
      if (!interrupts.signal.aborted) throw error;
      throw new CommandError(`no longer watching: the server at ${server.url} goes on repairing`);
    })
    .finally(() => progress.clear());
  if (failed !== null)
    throw new CommandError(`the repair in the server at ${server.url} failed (${failed}); its log says why`);
  const { version, manifest, missing } = await server.status();
  const seconds = (performance.now() - started) / 1000;
  return {
    trained: Math.max(0, before.missing - missing),
    superseded: 0,
    seconds,
    version,
    manifest,
    missing,
  };
}
