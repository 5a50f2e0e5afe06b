import type { App } from './app.ts';

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
