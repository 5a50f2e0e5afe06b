import { basename, resolve } from 'node:path';
import { isLoopback } from './access.ts';
import { KeyFile, keyFileOf } from './api-keys.ts';
import { type App, createApp } from './app.ts';
import type { HoldRun, RunOptions } from './held-run.ts';
import { type Listen, type Listener, tryAddress } from './listener.ts';
import type { AppOptions } from './options.ts';
import { Problem } from './problem.ts';

export interface ServeOptions extends Omit<AppOptions, 'keys'>, RunOptions {
  /** Default 8787; 0 takes a free one. */
  port?: number;
  /** The file of the API keys. Default: S3T_API_KEYS, or one in the run folder. */
  apiKeys?: string;
  /** Default 127.0.0.1. Another one needs API keys: without, who can reach the port may erase. */
  host?: string;
  /** Told, in one line, of what whoever runs the server should know. Default: the console. */
  onNotice?: (message: string) => void;
  /** How long a close waits for answers under way, milliseconds. Default 10,000. */
  drainMs?: number;
}

/** A run being served. */
export interface Serving {
  url: string;
  /** What it listens on: `url` names one that listens on every address by loopback. */
  host: string;
  /** Whether requests need an API key; where not, only this machine's are answered. */
  needsKey: boolean;
  /** Drains and lets go of the run. Calling it again gives the same promise. */
  close(): Promise<void>;
  /** Resolves when it is closed, whoever closed it. */
  closed: Promise<void>;
}

/** Opens the run, serves it, and writes the address into the run's lock, so that other commands find their way here. */
export async function serveRun(options: ServeOptions, hold: HoldRun, listen: Listen): Promise<Serving> {
  const { run, config, textSlots, apiKeys, port = 8787, host = '127.0.0.1', ...others } = options;
  const { drainMs = 10_000, onNotice = console.error, ...appOptions } = others;
  const keys = new KeyFile(apiKeys ?? keyFileOf(run));
  const needsKey = await keys.isRequired();
  const hasKeys = (await keys.list()).length > 0;
  if (!hasKeys && !isLoopback(host)) {
    const why = needsKey ? `${keys.file} holds no key, and ` : '';
    const message = `${host}: ${why}without API keys only this machine may be served; make one with s3t api-key create, or listen on 127.0.0.1`;
    throw new Problem(400, 'usage', message);
  }
  await tryAddress({ port, host });
  // Nothing listens before the ledger holds.
  const held = await hold({ run, config, textSlots }, onNotice);
  let app: App | undefined;
  let listener: Listener | undefined;
  try {
    app = createApp(held.service, { modelName: basename(resolve(run)), ...appOptions, keys });
    listener = await listen(app, { port, host, drainMs });
    await held.publishUrl(listener.url);
  } catch (error) {
    // First what asks the run by itself: its end is on purpose, and no loss to tell of.
    await (listener?.close() ?? app?.shutdown());
    await held.close();
    throw error;
  }
  if (needsKey && !hasKeys)
    onNotice(
      `${keys.file} holds no API key, so nobody is let in: make one with s3t api-key create, or delete the file and start again`,
    );
  const { promise: closed, resolve: done, reject } = Promise.withResolvers<void>();
  // Who does not ask need not hear of it: `close` tells its caller.
  closed.catch(() => {});
  let closing = false;
  const close = (): Promise<void> => {
    if (!closing) {
      closing = true;
      listener
        .close()
        .finally(() => held.close())
        .then(done, reject);
    }
    return closed;
  };
  return { url: listener.url, host, needsKey, close, closed };
}
