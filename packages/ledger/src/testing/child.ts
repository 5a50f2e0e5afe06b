import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export type Child = ChildProcessByStdio<null, Readable, Readable>;

/** Starts a TypeScript file of this folder in its own Node process, from our sources. */
export function startChild(file: string, args: string[] = []): Child {
  const path = fileURLToPath(new URL(file, import.meta.url));
  // These live for a second: compiling PGlite's WASM twice would be most of their work.
  const loading = new URL('../loading.ts', import.meta.url);
  const flags = ['--liftoff-only', '--conditions=@s3t/source', `--import=${loading.href}`];
  return spawn(process.execPath, [...flags, path, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Waits for its end; what it printed, line by line as JSON, and what it complained of. */
export async function finished(
  child: Child,
): Promise<{ lines: unknown[]; code: number | null; errors: string }> {
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  // A kill may cut the last line.
  const whole = output.slice(0, output.lastIndexOf('\n') + 1);
  const lines = whole.split('\n').filter((line) => line !== '');
  return { lines: lines.map((line) => JSON.parse(line)), code, errors };
}

/** Resolves when it has printed `count` lines, or has ended. */
export function linesFrom(child: Child, count: number): Promise<void> {
  return new Promise((resolve) => {
    let seen = 0;
    child.stdout.on('data', (chunk) => {
      seen += String(chunk).split('\n').length - 1;
      if (seen >= count) resolve();
    });
    child.once('close', () => resolve());
  });
}

/** Resolves with its first line. */
export function firstLine(child: Child): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (chunk) => resolve(String(chunk)));
    child.once('close', () => reject(new Error('the child ended without a word')));
  });
}
