import type { Receipt } from '@s3t/unlearner';
import type { Command } from 'commander';
import { integer, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { withRunOrServer } from '../run-access.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';
import { stagesOf } from './erase.ts';

interface Options extends RunOptions {
  limit: number;
}

/** `s3t erasures`: what was erased when, and what came of it. */
export function addErasures(program: Command): void {
  program
    .command('erasures')
    .description('past erasures, the newest first: when, how many records and stages, and whether repaired')
    .requiredOption(...RUN)
    .option('--limit <n>', 'so many at most', integer(1, 9999), 100)
    .option(...JSON_OUTPUT)
    .action(showErasures);
}

async function showErasures({ run, json, limit }: Options): Promise<void> {
  const receipts = await withRunOrServer(
    run,
    async (unlearner) => (await unlearner.receipts(limit)).toReversed(),
    (server) => server.receipts(limit),
  );
  const erasures = receipts.map((receipt) => ({
    ...receipt,
    state: receipt.repairedAt === undefined ? 'completed' : 'repaired',
  }));
  if (json) printJson({ erasures });
  else print(renderErasures(erasures));
}

export function renderErasures(receipts: readonly Receipt[]): string {
  if (receipts.length === 0) return 'No erasures so far.';
  return table(
    [
      ...[{ title: 'erasure' }, { title: 'acknowledged' }, right('records'), right('stages')],
      ...[right('version'), { title: 'repaired' }],
    ],
    receipts.map((receipt) => [
      receipt.erasure,
      receipt.acknowledgedAt,
      String(receipt.records),
      String(stagesOf(receipt)),
      `${receipt.before.version} -> ${receipt.after.version}`,
      receipt.repairedAt ?? 'not yet',
    ]),
  );
}
