import type { Unlearner, Verification, VerifyOptions } from '@s3t/unlearner';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { catchInterrupts } from '../interrupt.ts';
import { integers, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withFreeRun } from '../run-access.ts';
import { plural } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { verifyReceiptFile } from '../verify-receipt.ts';
import { WorkProgress } from '../work-progress.ts';

interface Options extends Partial<RunOptions> {
  fromScratch?: boolean;
  shards?: number[];
  stage?: string;
  receipt?: string;
  publicKey?: string;
}

/** `s3t verify`: trains again what the run holds and compares every byte; or checks a receipt, without a run. */
export function addVerify(program: Command): void {
  program
    .command('verify')
    .description(
      'check what the run holds, or a receipt; exit 1 on any difference, 2 when there was nothing to check',
    )
    .option(...RUN)
    .option('--from-scratch', 'train every stage again, on the records that remain, and compare')
    .option('--shards <s,s,..>', 'with --from-scratch: only these shards', integers)
    .option('--stage <id>', 'train this stage again and compare')
    .option('--receipt <file>', 'check this receipt, offline: no run, no device')
    .option('--public-key <key>', 'with --receipt: the key it must be signed with (see s3t key), or its file')
    .option(...JSON_OUTPUT)
    .action(verify);
}

async function verify({ receipt, publicKey, ...options }: Options): Promise<void> {
  const { run, json, ...ofRun } = options;
  if (receipt === undefined) {
    if (publicKey !== undefined) throw new UsageError('verify: --public-key goes with --receipt');
    if (run === undefined)
      throw new UsageError('verify: name a run (--run), or the file of a receipt (--receipt)');
    return verifyRun({ ...ofRun, run, json });
  }
  if (run !== undefined || Object.keys(ofRun).length > 0)
    throw new UsageError('verify: --receipt needs no run and nothing of it; leave the rest out');
  return verifyReceiptFile(receipt, { key: publicKey, json });
}

async function verifyRun({ run, json, ...options }: VerifyOptions & RunOptions): Promise<void> {
  if (options.fromScratch && options.stage !== undefined) {
    throw new UsageError('verify: --from-scratch covers every stage; leave --stage out');
  }
  if (options.shards && !options.fromScratch)
    throw new UsageError('verify: --shards goes with --from-scratch');
  using interrupts = catchInterrupts('stopping; nothing was changed');
  const check = async (unlearner: Unlearner): Promise<Verification> => {
    const progress = new WorkProgress('verify');
    const stop = unlearner.on(progress.show);
    try {
      return await unlearner.verify({ ...options, signal: interrupts.signal });
    } catch (error) {
      return interrupts.rethrow(error, 'stopped before the verification was finished');
    } finally {
      stop();
      progress.clear();
    }
  };
  const verification = await withFreeRun(run, check, () => 'verify a copy of it: s3t backup, s3t restore');
  if (json) printJson(verification);
  else print(renderVerification(verification));
  if (!verification.identical) process.exitCode = verification.differing.length > 0 ? 1 : 2;
}

/** What was found, and, apart from it, what no repair has trained yet: that is no difference. */
export function renderVerification({ identical, compared, differing, missing }: Verification): string {
  const lines: string[] = [];
  if (identical) lines.push(`identical: ${plural(compared, 'stage')} compared, every byte equal`);
  else if (differing.length === 0) lines.push('nothing to compare');
  else {
    const verb = differing.length === 1 ? 'differs' : 'differ';
    lines.push(`${plural(differing.length, 'stage')} ${verb}, of ${compared} compared:`);
    lines.push(...differing.map((stage) => `  ${stage}`));
  }
  if (missing.length > 0)
    lines.push(
      `${plural(missing.length, 'stage')} ${missing.length === 1 ? 'is' : 'are'} not trained yet: s3t repair`,
    );
  return lines.join('\n');
}
