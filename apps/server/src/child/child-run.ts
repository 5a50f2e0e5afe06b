import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldRun, HoldRun, RunOptions } from '../held-run.ts';
import { processPort } from './process-port.ts';
import { RemoteService } from './remote.ts';

export interface ChildRunOptions {
  /** The script of the child. */
  entry?: URL;
  /** Told, in one line, that the child was lost, or why it does not come back. Default: the console. */
  onNotice?: (message: string) => void;
}

/** How long a child may take to let go of its run before it is killed, milliseconds. */
const CLOSE_MS = 30_000;
/** Wait before a run that was lost soon after it had been opened, or cannot be opened, is opened again: twice as long each time. */
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 30_000;
/** A child that lived so long is not one that dies of being started. */
const STEADY_MS = 60_000;

/** Compiled or not, the entry lies beside this file. */
const IS_SOURCE = import.meta.url.endsWith('.ts');
const ENTRY = new URL(IS_SOURCE ? 'entry.ts' : 'entry.js', import.meta.url);
const SOURCE_FLAG = '--conditions=@s3t/source';
/**
 * How V8 collects garbage in a child, megabytes. Of long-lived values it may have so many before it first looks for dead ones: a few hold all of
 * them, and left to itself it would mark the heap every second, for 30 ms in which an erasure has to share the cores with it. New ones
 * are looked at often and briefly: what is left of GPU objects is finalised then, and of a second's worth that takes 20 ms.
 */
const HEAP_FLAGS = ['--initial-old-space-size=128', '--max-semi-space-size=2'];
const IS_NODE = process.versions.bun === undefined;

/**
 * A run in a process of its own: requests, health and erasures do not wait for what the device's driver computes. A child that is lost (killed,
 * or because its device was) is replaced; meanwhile nothing is served, and answers of the lost one that are still on their way are cut off
 * before the run is opened again, which finishes erasures that had begun.
 */
export class ChildRun implements HeldRun {
  readonly service: RemoteService = new RemoteService();
  readonly #argument: string;
  readonly #entry: URL;
  readonly #onNotice: (message: string) => void;
  readonly #closing = new AbortController();
  #child!: Child;
  #supervising: Promise<void> = Promise.resolve();

  private constructor(run: RunOptions, { entry = ENTRY, onNotice = console.error }: ChildRunOptions) {
    this.#argument = JSON.stringify(run);
    this.#entry = entry;
    this.#onNotice = onNotice;
  }

  /** Opens the run in a child. Throws what kept the child from it. */
  static async open(run: RunOptions, options: ChildRunOptions = {}): Promise<ChildRun> {
    const opened = new ChildRun(run, options);
    await opened.#start();
    opened.#supervising = opened.#supervise();
    return opened;
  }

  /** The child of this moment. */
  get pid(): number | undefined {
    return this.#child.process.pid;
  }

  publishUrl(url: string): Promise<void> {
    return this.service.publishUrl(url);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.service.end();
    // One that was lost before was told of then.
    const isThere = !this.#child.lost.aborted;
    const how = await this.#child.end();
    await this.#supervising;
    if (isThere && how !== 0) throw new Error(`the process that held the run ended with ${how}`);
  }

  async #start(): Promise<void> {
    this.#child = new Child(this.#entry, this.#argument);
    try {
      await this.service.connect(processPort(this.#child.process), this.#child.lost);
    } catch (error) {
      await this.#child.end();
      throw error;
    }
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#closing;
    for (let wait = 0; ; ) {
      const since = performance.now();
      const how = await this.#child.ended;
      if (signal.aborted) return;
      this.#onNotice(`the process that holds the run ended with ${how}; opening the run again`);
      await this.service.settle();
      if (performance.now() - since > STEADY_MS) wait = 0;
      for (let isOpen = false; !isOpen; ) {
        await sleep(wait, undefined, { signal }).catch(() => {});
        if (signal.aborted) return;
        wait = Math.min(LONGEST_WAIT_MS, wait === 0 ? FIRST_WAIT_MS : wait * 2);
        isOpen = await this.#start().then(
          () => true,
          (error: Error) => {
            if (!signal.aborted) this.#onNotice(`the run cannot be opened again yet: ${error.message}`);
            return false;
          },
        );
      }
    }
  }
}

/** `ChildRun.open` for `serveRun`. */
export const holdInChild: HoldRun = (run, onNotice) => ChildRun.open(run, { onNotice });

/** A child process that holds, or held, a run. */
class Child {
  readonly process: ChildProcess;
  /** Aborts once its last message is there and no other will come. */
  readonly lost: AbortSignal;
  /** How it ended: 0, or what to say of it. Its last message was there before. */
  readonly ended: Promise<string | 0>;

  constructor(entry: URL, argument: string) {
    const execArgv = process.execArgv.filter((flag) => !flag.startsWith('--inspect'));
    if (IS_SOURCE && !execArgv.includes(SOURCE_FLAG)) execArgv.push(SOURCE_FLAG);
    if (IS_NODE) execArgv.unshift(...HEAP_FLAGS);
    const child = fork(entry, [argument], {
      execArgv,
      serialization: 'advanced',
      // What it prints is for whoever reads our log, not for whoever waits for our address.
      stdio: ['ignore', process.stderr.fd, process.stderr.fd, 'ipc'],
    });
    this.process = child;
    const lost = new AbortController();
    this.lost = lost.signal;
    // Not its exit, which may be told before its last messages are.
    child.once('disconnect', () => lost.abort());
    const exited = once(child, 'exit').then(
      ([code, signal]) => (code === 0 ? 0 : signal === null ? `exit code ${code}` : String(signal)),
      (error: Error) => {
        lost.abort();
        return error.message;
      },
    );
    this.ended = exited.then(async (how) => {
      if (!lost.signal.aborted) await once(lost.signal, 'abort');
      return how;
    });
  }

  /** Lets go of it, and resolves when it has ended, however that is. */
  async end(): Promise<string | 0> {
    if (this.process.connected) this.process.disconnect();
    const deadline = setTimeout(() => this.process.kill('SIGKILL'), CLOSE_MS);
    try {
      return await this.ended;
    } finally {
      clearTimeout(deadline);
    }
  }
}
