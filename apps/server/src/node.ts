import { holdInChild } from './child/child-run.ts';
import { holdHere } from './hold-here.ts';
import { listenNode } from './listen-node.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';
import { closeOnSignals } from './stop-signals.ts';

export { listenNode } from './listen-node.ts';
export { jsonLog } from './request-log.ts';
export type { ServeOptions, Serving } from './serve.ts';

/**
 * Serves a run on Node until `close` is called or the process is told to end: SIGTERM and SIGINT drain (a second one kills).
 * `signals: false` leaves signals to the caller. The run is held by a child process, which is replaced when it or its device is lost; `inProcess: true`
 * holds it in this one.
 *
 * @example
 * ```ts
 * const server = await serve({ run: 'runs/cats', port: 8787 });
 * console.error(`listening at ${server.url}`);
 * await server.closed;
 * ```
 */
export async function serve(
  options: ServeOptions & { signals?: boolean; inProcess?: boolean },
): Promise<Serving> {
  const { signals = true, inProcess = false, ...rest } = options;
  const serving = await serveRun(rest, inProcess ? holdHere : holdInChild, listenNode);
  if (signals) closeOnSignals(serving);
  return serving;
}
