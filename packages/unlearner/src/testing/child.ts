import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** What a child process is asked to do with a run. */
export interface Work {
  command: 'train' | 'erase' | 'status' | 'hold';
  run: string;
  config?: string;
  ids?: string[];
  idempotencyKey?: string;
}

/** A Node process of its own that works on a run, from our sources. It loads everything, says `ready`, and waits for `begin`. */
export class WorkChild {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  /** What it printed so far. */
  readonly lines: { type: string; [field: string]: unknown }[] = [];
  errors = '';
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  #rest = '';
  #waiting: { isMet: () => boolean; resolve: () => void }[] = [];

  constructor() {
    const path = fileURLToPath(new URL('work-child.ts', import.meta.url));
    // They live for seconds: compiling PGlite's WASM twice would be most of their work.
    const flags = [
      ...['--liftoff-only', '--conditions=@s3t/source', '--disable-warning=ExperimentalWarning'],
      `--import=${import.meta.resolve('@s3t/ledger/loading')}`,
    ];
    this.process = spawn(process.execPath, [...flags, path], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stdout.on('data', (chunk) => this.#take(String(chunk)));
    this.process.stderr.on('data', (chunk) => {
      this.errors += chunk;
    });
    // A killed child's pipe breaks.
    this.process.stdin.on('error', () => {});
    this.ended = once(this.process, 'close').then(([code, signal]) => {
      for (const { resolve } of this.#waiting.splice(0)) resolve();
      return { code, signal };
    });
  }

  begin(work: Work): void {
    this.process.stdin.write(`${JSON.stringify(work)}\n`);
  }

  /** Resolves when it has printed a line of this type, or has ended. */
  said(type: string): Promise<void> {
    return this.#until(() => this.lines.some((line) => line.type === type));
  }

  /** Resolves when it has printed `count` lines, or has ended. */
  printed(count: number): Promise<void> {
    return this.#until(() => this.lines.length >= count);
  }

  line(type: string): Record<string, unknown> | undefined {
    return this.lines.find((line) => line.type === type);
  }

  /** Ends it the way a power cut would. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  /** Does the work to its end. @throws when it fails */
  async result(work: Work): Promise<Record<string, unknown>> {
    this.begin(work);
    const { code } = await this.ended;
    const done = this.line('done');
    if (code !== 0 || !done) throw new Error(`the child failed (${code}): ${this.errors}`);
    return done;
  }

  #until(isMet: () => boolean): Promise<void> {
    if (isMet() || this.process.exitCode !== null || this.process.signalCode !== null)
      return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ isMet, resolve }));
  }

  #take(text: string): void {
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop()!;
    for (const part of parts) this.lines.push(JSON.parse(part));
    this.#waiting = this.#waiting.filter(({ isMet, resolve }) => {
      if (!isMet()) return true;
      resolve();
      return false;
    });
  }
}
