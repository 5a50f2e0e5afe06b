import type { Command } from 'commander';
import { JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { readOrAsk } from '../run-access.ts';
import { print, printJson } from '../terminal/print.ts';

/** `s3t key`: what auditors check receipts with. */
export function addKey(program: Command): void {
  program
    .command('key')
    .description('the public key of the receipts: give it to whoever checks them')
    .requiredOption(...RUN)
    .option(...JSON_OUTPUT)
    .action(showKey);
}

async function showKey({ run, json }: RunOptions): Promise<void> {
  const publicKey = await readOrAsk(
    async () => (await import('@s3t/unlearner')).readPublicKey(run),
    (server) => server.publicKey(),
  );
  if (json) printJson({ publicKey });
  else print(publicKey);
}
