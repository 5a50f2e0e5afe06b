import { readFileSync, writeFileSync } from 'node:fs';
import type { Evaluation, Receipt } from '@s3t/unlearner';
import type { Command } from 'commander';
import { CommandError, UsageError } from '../errors.ts';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import type { RunServer } from '../remote.ts';
import { withRunOrServer } from '../run-access.ts';
import { count, plural, short } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { facts, table } from '../terminal/table.ts';
import { renderEvaluation } from './eval.ts';

interface Options extends RunOptions {
  file?: string;
  subject: string[];
  dryRun?: boolean;
  evaluate?: boolean;
  idempotencyKey?: string;
  receipt?: string;
}

/** An erasure, its receipt's file where that was asked for, and what is served now. */
interface Outcome {
  receipt: Receipt;
  /** Null where it has none; an error where that cannot be told. */
  file: string | null | Error;
  /** How deep each shard serves now; absent where nothing was asked to change. */
  depths?: readonly number[];
  /** How deep one can. */
  slices?: number;
  /** Milliseconds of the receipt's that opening the run took: a server has it open. */
  openedMs?: number;
}

/** `s3t erase`: forgets records at once and prints the receipt. */
export function addErase(program: Command): void {
  program
    .command('erase')
    .description('erase records: what learnt from them leaves the service at once; prints the receipt')
    .argument('[id...]', 'ids of the records')
    .requiredOption(...RUN)
    .option('--file <ids>', 'a file with one id per line (- for stdin)')
    .option(
      '--subject <name>',
      'erase everything of whom data.subject calls so; may be given several times',
      (name: string, before: string[]) => [...before, name],
      [],
    )
    .option('--dry-run', 'only say what would happen')
    .option('--evaluate', 'of a dry run: measure what would be served then, too; takes a pass over data.eval')
    .option('--idempotency-key <key>', 'the same key gives the same receipt, and erases once')
    .option('--receipt <file>', 'write the signed receipt there, for `s3t verify --receipt`')
    .option(...JSON_OUTPUT)
    .action(erase);
}

async function erase(
  args: string[],
  { run, file, subject: subjects, json, dryRun, evaluate, idempotencyKey, receipt: receiptPath }: Options,
): Promise<void> {
  const receivedAt = Date.now();
  const records = namedRecords(args, file);
  if (records.length === 0 && subjects.length === 0)
    throw new UsageError(
      'erase: no records given: name their ids, a file of ids with --file, or whom they are about with --subject',
    );
  const target = { ...(records.length > 0 && { records }), ...(subjects.length > 0 && { subjects }) };
  if (dryRun && receiptPath !== undefined)
    throw new UsageError('erase: a dry run has no receipt; leave --receipt out');
  if (evaluate && !dryRun)
    throw new UsageError('erase: --evaluate is of what a dry run would leave: add --dry-run');
  const options = { dryRun, evaluate, idempotencyKey };
  const wanted = receiptPath !== undefined;
  const outcome = await withRunOrServer<Outcome>(
    run,
    async (unlearner) => {
      const openedMs = Date.now() - receivedAt;
      const receipt = await unlearner.erase(target, { ...options, receivedAt });
      const file = wanted ? await fileOf(receipt, unlearner.log) : null;
      const { servedDepths: depths, config } = unlearner;
      return { receipt, file, openedMs, ...(!dryRun && { depths, slices: config.slices }) };
    },
    async (server) => {
      const receipt = await server.erase(target, options);
      const file = wanted ? await fileOf(receipt, server) : null;
      return { receipt, file, ...(!dryRun && (await servedBy(server))) };
    },
  );
  const { receipt, depths } = outcome;
  if (json) printJson({ ...receipt, ...(depths && { depths }) });
  else print(renderErasure(outcome));
  if (receiptPath !== undefined) keep(outcome, receiptPath);
}

/** The receipt's file. The receipt is to be printed, whatever becomes of this. */
async function fileOf(
  { erasure }: Receipt,
  log: { receiptFile(erasure: string): Promise<string | null> },
): Promise<Outcome['file']> {
  try {
    return await log.receiptFile(erasure);
  } catch (error) {
    const isNone = (error as { code?: unknown }).code === 'no-receipt-file';
    return isNone ? null : error instanceof Error ? error : new Error(String(error));
  }
}

/** What a server serves, as far as it tells: the records are erased, whatever becomes of this question. */
async function servedBy(server: RunServer): Promise<Pick<Outcome, 'depths' | 'slices'>> {
  const status = await server.status().catch(() => null);
  if (status === null) return {};
  const { shards } = status;
  return {
    depths: shards.map(({ servedDepth }) => servedDepth),
    slices: shards[0]?.sequences[0]?.order.length,
  };
}

/** Writes the receipt's file. What fails here comes after the erasure, which stands. */
function keep({ receipt: { erasure }, file }: Outcome, path: string): void {
  if (file === null)
    throw new CommandError(`erasure ${erasure} is from before receipts were signed: it has no file`);
  const stands = `the records are erased, and a server of the run gives it at /v1/erasures/${erasure}/receipt`;
  if (file instanceof Error)
    throw new CommandError(`${path}: the receipt cannot be read (${file.message}); ${stands}`);
  try {
    writeFileSync(path, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CommandError(`${path}: the receipt cannot be written (${code}); ${stands}`);
  }
}

/** Records by their ids: arguments, then those of a file. */
export function namedRecords(ids: readonly string[], file: string | undefined): string[] {
  return [...ids, ...(file === undefined ? [] : idsIn(file))];
}

/** One id a line; what surrounds it may be part of it, so only the line ends go. */
function idsIn(file: string): string[] {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `${file}: ${code === 'ENOENT' ? 'the file does not exist' : `cannot be read (${code})`}`,
    );
  }
  return text.split(/\r?\n/).filter((line) => line !== '');
}

/** What an erasure did and what is left to serve, for people. */
export function renderErasure({ receipt, depths, slices, openedMs }: Omit<Outcome, 'file'>): string {
  const { before, after, deactivated, dryRun, repeated, expected } = receipt;
  const title = dryRun
    ? 'Dry run: nothing was changed.'
    : repeated
      ? 'This request was answered before:'
      : undefined;
  const changed = before.manifest !== after.manifest;
  return [
    ...(title === undefined ? [] : [title]),
    facts([
      ['erasure', receipt.erasure],
      ['records', String(receipt.records)],
      ['version', `${before.version} -> ${after.version}`],
      [
        'manifest',
        changed
          ? `${short(before.manifest)} -> ${short(after.manifest)}`
          : `${short(after.manifest)} (unchanged)`,
      ],
      ...(dryRun ? [] : [['acknowledged', acknowledged(receipt, openedMs)] as const]),
      [
        'deactivated',
        deactivated.length === 0
          ? 'none: the stages of their slices were gone already, or not trained yet'
          : plural(stagesOf(receipt), 'stage'),
      ],
      ...(depths ? [['served depth', `${depths.join(' ')}   of ${slices}, shard by shard`] as const] : []),
    ]),
    ...(deactivated.length === 0 ? [] : ['', renderStages(deactivated)]),
    ...(expected === undefined ? [] : ['', renderExpected(expected)]),
    ...afterwards(receipt, depths),
  ].join('\n');
}

/** How many stages an erasure took: a receipt names one once for each sequence that shares it. */
export function stagesOf({ deactivated }: Pick<Receipt, 'deactivated'>): number {
  return new Set(deactivated.map(({ shard, stage }) => `${shard}/${stage}`)).size;
}

/** The receipt's time counts from the command's start, which opens the run first. */
function acknowledged({ acknowledgedMs, repeated }: Receipt, openedMs: number | undefined): string {
  const ms = (value: number) => `${count(Math.round(value))} ms`;
  const opening = openedMs === undefined || repeated ? '' : `, of which opening the run took ${ms(openedMs)}`;
  return `after ${ms(acknowledgedMs)}${opening}`;
}

function afterwards(
  { dryRun, deactivated }: Receipt,
  depths: readonly number[] | undefined,
): readonly string[] {
  if (dryRun) return [];
  if (depths?.every((depth) => depth === 0))
    return ['', 'Nothing is served now: predictions fail until `s3t repair` has trained stages again.'];
  return deactivated.length === 0 ? [] : ['', '`s3t repair` trains them again on what is left.'];
}

function renderExpected(expected: Evaluation | null): string {
  if (expected === null) return 'Nothing would be served until a repair.';
  return ['What would be served then:', renderEvaluation(expected)].join('\n');
}

function renderStages(stages: Receipt['deactivated']): string {
  const columns = [
    ...['shard', 'sequence', 'position'].map((title) => ({ title, align: 'right' as const })),
    { title: 'stage' },
  ];
  return table(
    columns,
    stages.map(({ shard, sequence, position, stage }) => [
      ...[shard, sequence, position].map(String),
      short(stage),
    ]),
  );
}
