import type { Command } from 'commander';
import { CommandError, UsageError } from '../errors.ts';
import { catchInterrupts, type Interrupts } from '../interrupt.ts';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import type { RunServer } from '../remote.ts';
import { withRunOrServer } from '../run-access.ts';
import { print, printJson } from '../terminal/print.ts';
import { Progress } from '../terminal/progress.ts';
import { printWork, STOP_NOTE, trainMissing, type WorkResult } from '../work.ts';

/** `s3t repair`: trains what erasures took away, on the records that remain. */
export function addRepair(program: Command): void {
  program
    .command('repair')
    .description('train the stages that erasures took away, on the records that remain')
    .requiredOption(...RUN)
    .option('--if-due', "only when the configuration's repair policy wants it: for a timer")
    .option('--pause', 'hold the repairs of the server of this run')
    .option('--resume', 'let the repairs of the server of this run go on')
    .option(...JSON_OUTPUT)
    .action(repair);
}

interface Options extends RunOptions {
  ifDue?: boolean;
  pause?: boolean;
  resume?: boolean;
}

async function repair({ run, json, ifDue, pause, resume }: Options): Promise<void> {
  const asked = Object.entries({ '--if-due': ifDue, '--pause': pause, '--resume': resume }).filter(
    ([, isAsked]) => isAsked,
  );
  if (asked.length > 1)
    throw new UsageError(`${asked.map(([name]) => name).join(', ')}: only one of them can be had`);
  if (pause || resume) {
    await hold(run, pause === true, json);
    return;
  }
  using interrupts = catchInterrupts(STOP_NOTE);
  const result = await withRunOrServer(
    run,
    async (unlearner) =>
      ifDue && !(await unlearner.repairStanding()).isDue
        ? null
        : trainMissing(unlearner, 'repair', interrupts),
    async (server) =>
      ifDue && !(await server.status()).repair.isDue ? null : repairThere(server, interrupts),
  );
  if (result) printWork(result, { run, json });
  else if (json) printJson({ due: false });
  else print('No repair is due.');
}

async function hold(run: string, isHeld: boolean, json: boolean | undefined): Promise<void> {
  const state = await withRunOrServer(
    run,
    async () => {
      throw new UsageError(`--${isHeld ? 'pause' : 'resume'}: no server has ${run}, so nothing repairs it`);
    },
    (server) => server.holdRepair(isHeld),
  );
  if (json) printJson(state);
  else print(isHeld ? 'Repairs are paused.' : 'Repairs go on.');
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
