import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** How late the timers of an event loop were, milliseconds. */
export interface Delays {
  p50: number;
  p99: number;
  max: number;
}

export type ToServer = 'watch' | 'delays' | 'close';
export type FromServer = { url: string } | { watching: true } | Delays;

export const IN_PROCESS = '--in-process';

/** A server in a process of its own. */
export class Server {
  /** Whether servers hold their runs themselves, and not in another process. */
  static inProcess = false;
  readonly url: string;
  /** Milliseconds from the start of the process to its first answer that it is ready. */
  readonly readyMs: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string, readyMs: number) {
    this.#child = child;
    this.url = url;
    this.readyMs = readyMs;
  }

  /** @throws Error where it ends instead, with what it said on stderr shown */
  static async start(run: string): Promise<Server> {
    const began = performance.now();
    const child = fork(
      fileURLToPath(new URL('./server.ts', import.meta.url)),
      [run, ...(Server.inProcess ? [IN_PROCESS] : [])],
      {
        execArgv: ['--conditions=@s3t/source'],
      },
    );
    const { url } = (await answerOf(child)) as { url: string };
    const response = await fetch(`${url}/health/ready`);
    if (!response.ok) throw new Error(`the server is not ready: ${await response.text()}`);
    return new Server(child, url, performance.now() - began);
  }

  /** From now on its event loop is watched. */
  async watch(): Promise<void> {
    await this.#ask('watch');
  }

  /** Of the time since `watch`. */
  async delays(): Promise<Delays> {
    return (await this.#ask('delays')) as Delays;
  }

  async close(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.send('close' satisfies ToServer);
    await exited;
  }

  #ask(message: ToServer): Promise<FromServer> {
    const answer = answerOf(this.#child);
    this.#child.send(message);
    return answer;
  }
}

async function answerOf(child: ChildProcess): Promise<FromServer> {
  const end = new AbortController();
  const { signal } = end;
  const exited = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`the server ended with ${code}`);
  });
  exited.catch(() => {});
  try {
    const [message] = await Promise.race([once(child, 'message', { signal }), exited]);
    return message;
  } finally {
    end.abort();
  }
}
