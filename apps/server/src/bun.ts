import { listenBun } from './listen-bun.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';

export { listenBun } from './listen-bun.ts';
export { jsonLog } from './request-log.ts';
export type { ServeOptions, Serving } from './serve.ts';

/** As `serve` of `@s3t/server/node`, on Bun with its own HTTP server. WebGPU is Dawn's, from the `webgpu` package. */
export async function serve(options: ServeOptions & { signals?: boolean }): Promise<Serving> {
  const { signals = true, ...rest } = options;
  const serving = await serveRun(rest, listenBun);
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
