import { spawn } from 'node:child_process';
import { Interrupted } from './report.mjs';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs a command to its end and hands on the signals we get, so that nothing outlives us.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions & {onStart?: Function}} [options]
 *   `onStart` gets the child process
 * @returns {Promise<{code: number | null, signal: NodeJS.Signals | null, received: NodeJS.Signals | null}>}
 *   `received`: the signal that we got meanwhile; rejects when the command cannot be started
 */
export function runChild(command, args, { onStart, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, options);
    let received = null;
    const onSignal = (signal) => {
      received = signal;
      forward(child, signal);
    };
    for (const signal of FORWARDED) process.on(signal, onSignal);
    const finish = () => {
      for (const signal of FORWARDED) process.off(signal, onSignal);
    };
    child.once('error', (error) => {
      finish();
      reject(error);
    });
    child.once('close', (code, signal) => {
      finish();
      resolve({ code, signal, received });
    });
    onStart?.(child);
  });
}

/** Ctrl-C in a terminal reaches the child by itself; sent twice, many programs take it for "now, at once". */
function forward(child, signal) {
  const fromTerminal = signal === 'SIGINT' && (process.stdin.isTTY || process.stderr.isTTY);
  if (!fromTerminal) child.kill(signal);
}

/**
 * Runs a step of set-up, which ends when we are told to.
 *
 * @type {typeof runChild}
 * @throws {Interrupted}
 */
export async function runStep(command, args, options) {
  const end = await runChild(command, args, options);
  if (end.received) throw new Interrupted(end.received);
  return end;
}

/**
 * Runs a step of set-up and collects what it prints.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions & {onLine?: (line: string) => void}} [options]
 * @returns {Promise<{ok: boolean, code: number | null, signal: NodeJS.Signals | null, stdout: string,
 *   stderr: string}>} also when the command cannot be started
 * @throws {Interrupted}
 */
export async function collect(command, args, { onLine, ...options } = {}) {
  const output = { stdout: '', stderr: '' };
  const onStart = (child) => {
    for (const name of ['stdout', 'stderr']) {
      let rest = '';
      child[name].setEncoding('utf8').on('data', (text) => {
        output[name] += text;
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) onLine?.(line);
      });
    }
  };
  try {
    const end = await runStep(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'], onStart });
    return { ok: end.code === 0, ...end, ...output };
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return { ok: false, code: null, signal: null, stdout: '', stderr: error.message };
  }
}
