import type { GenerationPiece } from '@s3t/unlearner';
import type { HeldRun } from '../held-run.ts';
import { Problem } from '../problem.ts';
import type { Service } from '../service.ts';
import {
  type Call,
  errorOf,
  failureOf,
  type Port,
  type Refusal,
  type Standing,
  type ToApp,
  type ToRun,
} from './protocol.ts';

// Of each member of a union its own parts, so that what a message must carry stays checked.
type Bare<T> = T extends unknown ? Omit<T, keyof Standing> : never;

/** What a host asks of its run. */
export type Hosted = Service & Pick<HeldRun, 'publishUrl'>;

/** Answers what a `RemoteService` at the other end of `port` asks of `service`. Returns how to stop, and cancel what is under way. */
export function hostService(service: Hosted, port: Port): () => void {
  const calls = new Map<number, AbortController>();
  const texts = new Map<number, AsyncGenerator<GenerationPiece, void, undefined>>();
  const asked = new Map<number, PromiseWithResolvers<void>>();
  const send = (message: Bare<ToApp>) => {
    const { servedVersion, validSince, servedDepths } = service;
    port.send({ ...message, servedVersion, validSince, servedDepths } as ToApp);
  };
  let asks = 0;
  const ask = (call: number, drain?: number): Promise<void> => {
    const id = ++asks;
    const told = Promise.withResolvers<void>();
    asked.set(id, told);
    send({ type: 'ask', id, call, drain });
    return told.promise;
  };

  /** Sends what `work` gives, or its error. */
  const reply = async (id: number, work: () => Promise<Bare<ToApp>>) => {
    try {
      send(await work());
    } catch (error) {
      send({ type: 'failure', id, error: failureOf(error) });
    }
  };

  const take = (message: ToRun) => {
    const { id } = message;
    if (message.type === 'call') {
      const abort = new AbortController();
      calls.set(id, abort);
      void reply(id, async () => ({
        type: 'result',
        id,
        value: await answer(service, message.call, abort.signal, (drain) => ask(id, drain)),
      })).finally(() => calls.delete(id));
    } else if (message.type === 'generate') {
      const abort = new AbortController();
      calls.set(id, abort);
      texts.set(id, service.generate(message.prompt, { ...message.options, signal: abort.signal }));
    } else if (message.type === 'next') {
      const pieces = texts.get(id);
      void reply(id, async () => {
        // Cancelled before it was asked, and nobody waits; or begun at an end that was lost, and somebody does.
        if (pieces === undefined)
          throw new Problem(503, 'unavailable', 'the text is not under way here any more');
        return { type: 'piece', id, piece: await pieces.next() };
      });
    } else if (message.type === 'cancel') {
      calls.get(id)?.abort();
      const pieces = texts.get(id);
      if (pieces === undefined) return;
      texts.delete(id);
      calls.delete(id);
      pieces.return().catch(() => {});
    } else {
      const told = asked.get(id);
      asked.delete(id);
      if (message.error === undefined) told?.resolve();
      else told?.reject(errorOf(message.error));
    }
  };

  // What happens from here on is told after the facts.
  const { labels, task, reads, batchSize, createdAt } = service;
  const { image, text } = service.config.data;
  const config = { data: { image, text } };
  const has = { receipts: service.receipts !== undefined, evaluate: service.evaluate !== undefined };
  send({ type: 'open', facts: { labels, task, reads, config, batchSize, createdAt, has } });
  const stop = service.on((event) => send({ type: 'event', event }));
  port.receive((message) => take(message as ToRun));
  return () => {
    stop();
    for (const abort of calls.values()) abort.abort();
    for (const pieces of texts.values()) pieces.return().catch(() => {});
    for (const told of asked.values()) told.reject(new Error('the app is gone'));
  };
}

/** Tells the other end of `port` why there is no run. */
export function refuseService(error: unknown, port: Port): void {
  port.send({ type: 'refusal', error: failureOf(error) } satisfies Refusal);
}

async function answer(
  service: Hosted,
  { method, args }: Call,
  signal: AbortSignal,
  ask: (drain?: number) => Promise<void>,
): Promise<unknown> {
  switch (method) {
    case 'predict':
      return service.predict(args[0]);
    case 'erase': {
      const [target, options, { drains }] = args;
      return service.erase(target, drains ? { ...options, drain: ask } : options);
    }
    case 'repair': {
      const [options, { turns }] = args;
      return service.repair({ ...options, signal, ...(turns && { turn: () => ask() }) });
    }
    case 'stageBackup':
      return service.stageBackup({ ...args[0], signal });
    case 'history':
      return service.history(args[0]);
    case 'notes':
      return service.notes(args[0]);
    case 'note':
      return service.note(...args);
    case 'receipt':
      return service.receipt(args[0]);
    case 'unfinished':
      return service.unfinished();
    case 'receiptFor':
      return service.receiptFor(args[0]);
    case 'log.receiptFile':
      return service.log.receiptFile(args[0]);
    case 'log.sign':
      return service.log.sign(args[0]);
    case 'log.consistency':
      return service.log.consistency(...args);
    case 'log.publicKey':
      return service.log.publicKey();
    case 'log.checkpoint':
      return service.log.checkpoint();
    case 'publishUrl':
      return service.publishUrl(...args);
    case 'version':
      return service.version();
    case 'status':
      return service.status();
    case 'repairStanding':
      return service.repairStanding();
    case 'receipts':
      return service.receipts?.();
    case 'evaluate':
      return service.evaluate?.();
  }
}
