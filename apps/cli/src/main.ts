/** The process behind `s3t`: runs a command and ends. */
import '@s3t/ledger/loading';
import { run } from './run.ts';

// Our launcher holds the other end. When it is killed, going on would hold the run for a command nobody sees any more. As suddenly as it went:
// an orderly exit waits for the graphics driver.
if (process.channel) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.channel.unref();
}

// `s3t status | head -1`: the reader has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const code = await run(process.argv.slice(2));
// Writing to a pipe may still be under way, and a GPU driver's threads must not keep the process.
process.stdout.write('', () => process.exit(code));
