import type { App } from './app.ts';
import { type Listener, type ListenOptions, urlOf } from './listener.ts';

/** The part of Deno this needs; its own types would be a dependency for one call. */
declare const Deno: {
  serve(
    options: { port: number; hostname: string; onListen(address: { port: number }): void },
    handler: App['fetch'],
  ): { shutdown(): Promise<void>; addr: { port: number } };
};

/** Serves `app` with `Deno.serve`. */
export async function listenDeno(app: App, options: ListenOptions): Promise<Listener> {
  const server = Deno.serve({ port: options.port, hostname: options.host, onListen: () => {} }, app.fetch);
  const close = async (): Promise<void> => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise((resolve) => {
      timer = setTimeout(resolve, options.drainMs);
    });
    // Deno closes connections by itself once their answers are out.
    await Promise.race([Promise.all([server.shutdown(), app.shutdown()]), deadline]);
    clearTimeout(timer);
  };
  return { url: urlOf(options.host, server.addr.port), close };
}
