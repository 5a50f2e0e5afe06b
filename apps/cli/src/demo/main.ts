/**
 * `npm run demo`: the whole promise in one go. Trains on handwritten digits, serves them, erases records from three slices while clients keep
 * asking, repairs, and proves by training without the records that nothing of them is left. Always starts afresh.
 */
import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { explain } from '../errors.ts';
import { integer } from '../options.ts';
import { signalChildren } from './child.ts';
import { FOLDER } from './settings.ts';
import { type DemoOptions, runDemo } from './story.ts';

const program = new Command('npm run demo --')
  .description('Train, serve, erase under load, repair and verify; report. Always starts afresh.')
  .option(
    '--folder <dir>',
    'where everything goes; a demo there before is removed',
    (path) => resolve(path),
    FOLDER,
  )
  .option('--records <n>', 'digits to train on', integer(100), 4000)
  .option('--min-accuracy <share>', 'fail below this', Number, 0.9)
  .option('--keep', 'keep the run that verification trained, in FOLDER/verify')
  .option('--serve', 'serve the run at the end, with the dashboard')
  .option('--port <n>', 'where --serve listens', integer(0, 65_535), 8787)
  .exitOverride();

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    signalChildren(signal);
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}

let exitCode = 0;
try {
  const failed = await runDemo(program.parse().opts<DemoOptions>());
  for (const problem of failed) process.stderr.write(`demo: failed: ${problem}\n`);
  if (failed.length > 0) exitCode = 1;
} catch (error) {
  if (error instanceof CommanderError) {
    exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { message, exitCode: code } = explain(error);
    process.stderr.write(`demo: ${message}\n`);
    if (process.env.S3T_DEBUG === '1') console.error(error);
    exitCode = code;
  }
}
process.stdout.write('', () => process.exit(exitCode));
