import type { Command } from 'commander';
import { catchInterrupts } from '../interrupt.ts';
import { integer, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { print } from '../terminal/print.ts';

interface Options extends RunOptions {
  config?: string;
  port: number;
  host: string;
}

/** `s3t serve`: the HTTP API and the dashboard over a run. */
export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve the run over HTTP, with a dashboard')
    .requiredOption(...RUN)
    .option('--config <file>', 's3t.config.json, if the run does not exist yet')
    .option('--port <n>', 'port; 0 takes a free one', integer(0, 65_535), 8787)
    .option(
      '--host <name>',
      'address to listen on; there is no log-in, so who reaches it may erase',
      '127.0.0.1',
    )
    .option(...JSON_OUTPUT)
    .action(serveRun);
}

async function serveRun({ json, ...options }: Options): Promise<void> {
  using interrupts = catchInterrupts('finishing the answers under way; Ctrl-C again stops at once');
  const { serve } = await import('@s3t/server/node');
  const serving = await serve({ ...options, signals: false });
  // One line, so that a program can wait for it.
  print(
    json
      ? JSON.stringify({ url: serving.url, run: options.run })
      : `s3t serves ${options.run} at ${serving.url}`,
  );
  if (interrupts.signal.aborted) void serving.close();
  interrupts.signal.addEventListener('abort', () => void serving.close());
  await serving.closed;
}
