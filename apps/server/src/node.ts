import { listenNode } from './listen-node.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';
import { closeOnSignals } from './stop-signals.ts';

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
  if (signals) closeOnSignals(serving);
  return serving;
}
