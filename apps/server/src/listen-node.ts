import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { App } from './app.ts';
import { type Listener, type ListenOptions, listenProblem, urlOf } from './listener.ts';

/** Serves `app` with Node's HTTP server. */
export async function listenNode(app: App, options: ListenOptions): Promise<Listener> {
  const server = createAdaptorServer({ fetch: app.fetch, hostname: options.host }) as Server;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenProblem(error, options)));
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { url: urlOf(options.host, port), close: () => close(server, app, options.drainMs) };
}

async function close(server: Server, app: App, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // `close` ends connections that are idle now. Those in use are kept alive by their clients after the answer, so we look again.
  const sweep = setInterval(() => server.closeIdleConnections(), 20);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, drainMs);
  });
  try {
    await Promise.race([Promise.all([app.shutdown(), closed]), deadline]);
  } finally {
    clearInterval(sweep);
    clearTimeout(timer);
  }
  // What is still open by now is cut off.
  server.closeAllConnections();
  await closed;
}
