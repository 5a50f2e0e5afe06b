import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CommandError } from '../errors.ts';

const running = new Set<ChildProcess>();

/** Starts a script of this package in a process of its own, its progress on our stderr. It ends when we end, however we do. */
function start(script: string, args: readonly string[]): ChildProcess {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** Runs a script to its end and returns the JSON it printed. `name` is what an error calls it. */
export async function runJson<T>(name: string, script: string, args: readonly string[]): Promise<T> {
  const child = start(script, args);
  let output = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new CommandError(`${name} ended with ${signal ?? `exit code ${code}`}`);
  return JSON.parse(output) as T;
}

/** Runs an `s3t` command to its end. */
export function s3t<T>(...args: string[]): Promise<T> {
  return runJson<T>(`s3t ${args[0]}`, '../main.ts', [...args, '--json']);
}

/** A server in a process of its own. */
export interface ServerProcess {
  url: string;
  /** Drains it and waits for its end. */
  stop(): Promise<void>;
  /** Resolves when it ended by itself. */
  ended: Promise<unknown>;
}

export async function startServer(run: string, port: number): Promise<ServerProcess> {
  const child = start('../main.ts', ['serve', '--run', run, '--port', String(port), '--json']);
  const ended = once(child, 'close');
  const lines = createInterface({ input: child.stdout! });
  const first = await Promise.race([once(lines, 'line'), ended.then(() => undefined)]);
  if (!first) throw new CommandError('the server did not start');
  const { url } = JSON.parse(String(first[0]));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  return { url, stop, ended };
}

/** Hands a signal on to everything that still runs. */
export function signalChildren(signal: NodeJS.Signals): void {
  for (const child of running) child.kill(signal);
}
