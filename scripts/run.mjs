/**
 * Runs a command of this project, after making sure that all it needs is there.
 *
 *     node scripts/run.mjs -- COMMAND ARGS...
 *
 * `node` means the project's Node; other commands are looked up in node_modules/.bin first. Exit code and
 * signals are passed on.
 */
import { runChild } from './lib/child.mjs';
import { commandEnvironment } from './lib/environment.mjs';
import { reportFailure, SetupError } from './lib/report.mjs';
import { setUp } from './setup.mjs';

async function main(args) {
  const [command, ...rest] = args[0] === '--' ? args.slice(1) : args;
  if (!command) {
    process.stderr.write('usage: node scripts/run.mjs -- COMMAND ARGS...\n');
    process.exitCode = 2;
    return;
  }
  const setup = await setUp();
  const env = commandEnvironment(setup);
  const { code, signal } = await start(command === 'node' ? setup.node : command, rest, env);
  // Ended by a signal: so are we, for a shell or npm to see it.
  if (signal) process.kill(process.pid, signal);
  process.exitCode = code ?? 1;
}

function start(command, args, env) {
  // The tools in node_modules/.bin are .cmd files on Windows, which only a shell can start.
  const shell = process.platform === 'win32' && !command.endsWith('.exe');
  const quoted = shell
    ? args.map((arg) => (/[\s"&|<>^]/.test(arg) ? `"${arg.replaceAll('"', '\\"')}"` : arg))
    : args;
  return runChild(command, quoted, { env, shell, stdio: 'inherit' }).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
    throw new SetupError(`there is no command "${command}"`, [
      'Neither in node_modules/.bin nor on the PATH.',
    ]);
  });
}

await main(process.argv.slice(2)).catch(reportFailure);
