import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface RunSettings {
  /** What it reads on stdin. */
  input?: string | Uint8Array;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

/** Starts the `s3t` command as a user would, in a process of its own. */
export function startS3t(args: readonly string[], { cwd, env }: RunSettings = {}): ChildProcess {
  // They live for seconds: optimising PGlite's WASM would be much of their work.
  return spawn(process.execPath, ['--liftoff-only', '--conditions=@s3t/source', MAIN, ...args], {
    cwd,
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
  });
}

/** Runs it to its end. */
export async function s3t(args: readonly string[], settings: RunSettings = {}): Promise<Outcome> {
  const child = startS3t(args, settings);
  child.stdin!.end(settings.input ?? '');
  return outcomeOf(child);
}

/** What a started command prints, and how it ends. */
export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const outcome: Outcome = { code: null, stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      outcome[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ ...outcome, code, stderr: withoutDriver(outcome.stderr) }));
  });
}

/** Resolves when a stream has said something that fits. */
export function said(child: ChildProcess, name: 'stdout' | 'stderr', pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child[name]!.on('data', (chunk) => {
      text += chunk;
      const found = pattern.exec(text);
      if (found) resolve(found[0]);
    });
    child.once('close', () => reject(new Error(`it ended without saying ${pattern}: ${text}`)));
  });
}

/** Dawn warns about limits of its own on stderr. */
function withoutDriver(stderr: string): string {
  return stderr.replace(/^Warning: .*artificially reduced.*\n/gm, '');
}
