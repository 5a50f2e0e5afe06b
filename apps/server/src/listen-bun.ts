import type { App } from './app.ts';
import { type Listener, type ListenOptions, urlOf } from './listener.ts';

interface BunServer {
  port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
  requestIP(request: Request): { address: string } | null;
}

/** The part of Bun this needs; its own types would be a dependency for one call. */
declare const Bun: {
  serve(options: {
    port: number;
    hostname: string;
    idleTimeout: number;
    fetch(request: Request, server: BunServer): Response | Promise<Response>;
  }): BunServer;
};

/** Serves `app` with `Bun.serve`. */
export async function listenBun(app: App, options: ListenOptions): Promise<Listener> {
  const server = Bun.serve({
    port: options.port,
    hostname: options.host,
    // Event streams say something every 15 s; Bun would cut off what is silent for 10.
    idleTimeout: 60,
    // The limits ask where a request comes from, as Deno tells it.
    fetch: (request, server) =>
      app.fetch(request, { remoteAddr: { hostname: server.requestIP(request)?.address } }),
  });
  const close = async (): Promise<void> => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, options.drainMs);
    });
    const drained = Promise.all([server.stop(), app.shutdown()]);
    await Promise.race([drained, deadline]);
    clearTimeout(timer);
    // What is still open by now is cut off.
    await server.stop(true);
  };
  return { url: urlOf(options.host, server.port), close };
}
