import { type ChildProcess, fork } from 'node:child_process';
import type { Answer, EngineName, Request, Success } from './engine.ts';

/** A request that takes longer than this has hung. */
const PATIENCE_MS = 180_000;

/** An engine in a process of its own: engines patch globals and bring their own devices, so they cannot share one. */
export class EngineProcess {
  readonly name: EngineName;
  adapter = '';
  /** Why it cannot be asked any more. */
  failure: string | null = null;
  readonly #child: ChildProcess;
  #stderr = '';

  private constructor(name: EngineName) {
    this.name = name;
    this.#child = fork(new URL('./child.ts', import.meta.url), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk).slice(-4000);
    });
  }

  static async start(name: EngineName): Promise<EngineProcess> {
    const engine = new EngineProcess(name);
    try {
      const { adapter } = await engine.ask({ kind: 'open', engine: name });
      engine.adapter = adapter ?? '';
    } catch (error) {
      engine.failure = (error as Error).message;
      engine.stop();
    }
    return engine;
  }

  /** @throws Error with the reason when the engine failed, died or did not answer. */
  ask(request: Request): Promise<Partial<Success>> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const die = (code: number | null, signal: string | null): void => {
      const last = this.#stderr.trim().split('\n').at(-1) ?? '';
      this.failure = `its process ended with ${signal ?? `exit code ${code}`}${last && `: ${last}`}`;
      reject(new Error(this.failure));
    };
    const timer = setTimeout(() => {
      this.failure = `no answer within ${PATIENCE_MS / 1000} s`;
      reject(new Error(this.failure));
      this.#child.kill('SIGKILL');
    }, PATIENCE_MS);
    this.#child.once('message', resolve);
    this.#child.once('exit', die);
    this.#child.send(request);
    return promise
      .then((answer) => {
        if ('error' in answer) throw new Error(answer.error.split('\n')[0]);
        return answer;
      })
      .finally(() => {
        clearTimeout(timer);
        this.#child.off('message', resolve);
        this.#child.off('exit', die);
      });
  }

  stop(): void {
    this.#child.kill();
  }
}
