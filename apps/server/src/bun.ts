import { holdInChild } from './child/child-run.ts';
import { holdHere } from './hold-here.ts';
import { listenBun } from './listen-bun.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';
import { closeOnSignals } from './stop-signals.ts';

export { listenBun } from './listen-bun.ts';
export { jsonLog } from './request-log.ts';
export type { ServeOptions, Serving } from './serve.ts';

/** As `serve` of `@s3t/server/node`, on Bun with its own HTTP server. WebGPU is Dawn's, from the `webgpu` package. */
export async function serve(
  options: ServeOptions & { signals?: boolean; inProcess?: boolean },
): Promise<Serving> {
  const { signals = true, inProcess = false, ...rest } = options;
  const serving = await serveRun(rest, inProcess ? holdHere : holdInChild, listenBun);
  if (signals) closeOnSignals(serving);
  return serving;
}
