#!/usr/bin/env node
/**
 * The `s3t` command. It has to run on whatever Node there is (20 or newer), so it does no more than find the one that runs S3T:
 * in a checkout the prepared environment (set up first, if need be) with our TypeScript sources; installed as a package, this Node with the
 * compiled files.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NODE_MAJOR = 24;
const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, '../../..');
const args = process.argv.slice(2);

if (existsSync(resolve(root, 'scripts/lib/environment.mjs'))) await runInCheckout();
else await runInstalled();

async function runInstalled() {
  if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR) {
    fail(
      `Node ${NODE_MAJOR} or newer is needed, this is ${process.version}: install it from https://nodejs.org and run again`,
    );
    return;
  }
  const main = resolve(here, '../dist/main.js');
  if (existsSync(main)) await import(pathToFileURL(main).href);
  else fail(`${main} is missing: this package was not built; install it again`);
}

async function runInCheckout() {
  const lib = (name) => import(pathToFileURL(resolve(root, 'scripts', name)).href);
  const { commandEnvironment } = await lib('lib/environment.mjs');
  const setup = await prepare(lib);
  if (!setup) return;
  const main = resolve(here, '../src/main.ts');
  const env = commandEnvironment(setup);
  // Started by `npm run` or another s3t, this process may have all it takes already.
  const ready =
    setup.node === process.execPath && Object.keys(env).every((name) => env[name] === process.env[name]);
  if (ready) await import(pathToFileURL(main).href);
  else runMain(setup.node, main, env);
}

/** Set-up's result. `s3t doctor` has to say what is wrong where set-up cannot mend it, so it goes on with what there is. */
async function prepare(lib) {
  const { setUp } = await lib('setup.mjs');
  const { reportFailure } = await lib('lib/report.mjs');
  try {
    return await setUp();
  } catch (error) {
    reportFailure(error);
    if (args[0] !== 'doctor' || !existsSync(resolve(root, 'node_modules'))) return undefined;
    const { findNode } = await lib('lib/node.mjs');
    try {
      return { node: findNode(root), env: {} };
    } catch {
      return undefined; // the same failure, already reported
    }
  }
}

/** Runs the command in the right Node; its signals, its exit code and its end are ours. */
function runMain(node, main, env) {
  // The channel carries no messages: when we are killed, it breaks, and the command ends instead of holding its run for ever.
  const child = spawn(node, [main, ...args], { env, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  // Ctrl-C in a terminal reaches the child by itself as well; it takes two signals at once for one.
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => fail(`cannot start ${node}: ${error.message}`));
  child.once('close', (code, signal) => {
    if (!signal) {
      process.exitCode = code ?? 1;
      return;
    }
    // Ended by a signal: so are we, for a shell to see it.
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function fail(problem) {
  process.stderr.write(`s3t: ${problem}\n`);
  process.exitCode = 1;
}
