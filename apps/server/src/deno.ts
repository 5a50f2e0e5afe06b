import { holdHere } from './hold-here.ts';
import { listenDeno } from './listen-deno.ts';
import { type ServeOptions, type Serving, serveRun } from './serve.ts';

export { listenDeno } from './listen-deno.ts';
export { jsonLog } from './request-log.ts';
export type { ServeOptions, Serving } from './serve.ts';

declare const Deno: {
  addSignalListener(signal: 'SIGTERM' | 'SIGINT', listener: () => void): void;
  removeSignalListener(signal: 'SIGTERM' | 'SIGINT', listener: () => void): void;
};

/** As `serve` of `@s3t/server/node`, on Deno with its own HTTP server and its own WebGPU, which computes in this process. */
export async function serve(options: ServeOptions & { signals?: boolean }): Promise<Serving> {
  const { signals = true, ...rest } = options;
  const serving = await serveRun(rest, holdHere, listenDeno);
  if (signals) {
    const each = ['SIGTERM', 'SIGINT'] as const;
    const stop = (): void => {
      forget();
      serving.close().catch((error) => console.error(error));
    };
    let listening = true;
    const forget = (): void => {
      if (listening) for (const signal of each) Deno.removeSignalListener(signal, stop);
      listening = false;
    };
    for (const signal of each) Deno.addSignalListener(signal, stop);
    serving.closed.finally(forget).catch(() => {});
  }
  return serving;
}
