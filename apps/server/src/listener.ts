import { createServer } from 'node:net';
import type { App } from './app.ts';
import { Problem } from './problem.ts';

export interface ListenOptions {
  /** 0 takes a free one. */
  port: number;
  host: string;
  /** How long a close waits for answers under way before it cuts connections off, milliseconds. */
  drainMs: number;
}

/** An app that listens. */
export interface Listener {
  /** Without a slash at the end. */
  url: string;
  /** Takes no more requests, ends event streams, and resolves when the requests under way are answered. */
  close(): Promise<void>;
}

/** Makes an app listen, in one runtime or another. */
export type Listen = (app: App, options: ListenOptions) => Promise<Listener>;

/** The address to reach a listener at: one that listens everywhere is named by loopback. */
export function urlOf(host: string, port: number): string {
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `http://${name}:${port}`;
}

/**
 * Listens for a moment and lets go: opening a run takes seconds, and an address that cannot be had should be told before them.
 * @throws Problem saying why nothing can listen there
 */
export async function tryAddress({ port, host }: Pick<ListenOptions, 'port' | 'host'>): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenProblem(error, { port, host })));
    server.listen(port, host, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

/** Why nothing can listen at an address. What was named wrongly is a usage error; what others hold, or the system denies, is none. */
export function listenProblem(
  error: NodeJS.ErrnoException,
  { port, host }: Pick<ListenOptions, 'port' | 'host'>,
): Error {
  const known: Record<string, [code: string, text: string]> = {
    EADDRINUSE: ['listen', `port: ${port} on ${host} is in use; name another, or 0 for a free one`],
    EACCES: ['listen', `port: this user may not listen on ${port}`],
    EADDRNOTAVAIL: ['usage', `host: this machine has no address ${host}`],
    ENOTFOUND: ['usage', `host: ${host} is not a host`],
    EAI_AGAIN: ['usage', `host: ${host} cannot be looked up`],
  };
  const [code, text] = known[error.code ?? ''] ?? [];
  return code === undefined ? error : Object.assign(new Problem(503, code, text!), { cause: error });
}
