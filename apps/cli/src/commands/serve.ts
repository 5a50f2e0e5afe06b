import { type Command, Option } from 'commander';
import { catchInterrupts } from '../interrupt.ts';
import { API_KEYS, integer, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { print, say } from '../terminal/print.ts';

interface Options extends RunOptions {
  config?: string;
  port: number;
  host: string;
  apiKeys?: string;
  rateLimit: number;
  textSlots: number;
  fullScores?: boolean;
  modelName?: string;
  subjectIdentity?: string;
  log: 'json' | 'off';
  inProcess?: boolean;
}

/** `s3t serve`: the HTTP API and the dashboard over a run. */
export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve the run over HTTP, with a dashboard')
    .requiredOption(...RUN)
    .option('--config <file>', 's3t.config.json, if the run does not exist yet')
    .option('--port <n>', 'port; 0 takes a free one', integer(0, 65_535), 8787)
    .option('--host <name>', 'address to listen on; others than this machine need API keys', '127.0.0.1')
    .option(...API_KEYS)
    .option(
      '--rate-limit <n>',
      'requests per second of a key, or of an address where there are no keys; 0 is no limit',
      integer(0),
      0,
    )
    .option(
      '--text-slots <n>',
      'of a run that continues texts: how many go on together; more take more memory',
      integer(1, 128),
      8,
    )
    .option(
      '--full-scores',
      'exact scores for everybody, not only with an audit or admin key; they help to extract what was erased',
    )
    .option(
      '--subject-identity <type>',
      'what OpenDSR calls the kind of name in data.subject (default: controller_customer_id)',
    )
    .option(
      '--model-name <name>',
      'what clients of other APIs call the model (default: the name of the run folder)',
    )
    .addOption(
      new Option('--log <format>', 'a line per request on stderr, without what was sent or answered')
        .choices(['json', 'off'])
        .default('off'),
    )
    .option(
      '--in-process',
      'compute in the process of the HTTP server; left out, in another, which is replaced when its device is lost',
    )
    .option(...JSON_OUTPUT)
    .action(serveRun);
}

async function serveRun({ json, log, ...options }: Options): Promise<void> {
  using interrupts = catchInterrupts('finishing the answers under way; Ctrl-C again stops at once');
  const { jsonLog, serve } = await import('@s3t/server/node');
  const serving = await serve({
    ...options,
    ...(log === 'json' ? jsonLog(say) : {}),
    signals: false,
  });
  if (!serving.needsKey) {
    say('no API keys: only this machine is served, and may do everything; see s3t api-key create --help');
  }
  const { url, host } = serving;
  const isEverywhere = host === '0.0.0.0' || host === '::';
  // One line, so that a program can wait for it.
  print(
    json
      ? JSON.stringify({ url, host, run: options.run })
      : `s3t serves ${options.run} at ${url}${isEverywhere ? `, and on every other address of this machine (${host})` : ''}`,
  );
  if (interrupts.signal.aborted) void serving.close();
  interrupts.signal.addEventListener('abort', () => void serving.close());
  await serving.closed;
}
