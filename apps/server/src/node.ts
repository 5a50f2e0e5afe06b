import { listenNode } from './listen-node.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';

export { listenNode } from './listen-node.ts';
export { jsonLog } from './request-log.ts';
export type { ServeOptions, Serving } from './serve.ts';

/**
 * Serves a run on Node until `close` is called or the process is told to end: SIGTERM and SIGINT drain (a second one kills).
 * `signals: false` leaves signals to the caller.
 *
 * @example
 * ```ts
 * const server = await serve({ run: 'runs/cats', port: 8787 });
 * console.error(`listening at ${server.url}`);
 * await server.closed;
 * ```
 */
export async function serve(options: ServeOptions & { signals?: boolean }): Promise<Serving> {
  const { signals = true, ...rest } = options;
  const serving = await serveRun(rest, listenNode);
  if (signals) {
    const stop = (): void => {
      // Without our handlers a second signal does what it does by default.
      process.off('SIGTERM', stop).off('SIGINT', stop);
      serving.close().catch((error) => console.error(error));
    };
    process.on('SIGTERM', stop).on('SIGINT', stop);
    serving.closed.finally(() => process.off('SIGTERM', stop).off('SIGINT', stop)).catch(() => {});
  }
  return serving;
}
