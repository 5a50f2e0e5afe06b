/** A client that erases, in a thread of its own: its times are not those of the other clients' event loop. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { Receipt } from '@s3t/unlearner';
import { Http } from './clients.ts';

export interface TimedErasure {
  /** Milliseconds from sending the request to having the receipt. */
  ms: number;
  receipt: Receipt;
}

export class ErasingClient {
  readonly #worker: Worker;

  constructor(url: string) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: url });
  }

  /** @throws Error where it is not erased */
  async erase(record: string): Promise<TimedErasure> {
    this.#worker.postMessage(record);
    const [answer] = (await once(this.#worker, 'message')) as [TimedErasure];
    return answer;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

if (!isMainThread) {
  const http = new Http(workerData as string);
  // A client's own start is not the server's: it has connected and read an answer before its first erasure.
  await http.post('/v1/predict', '{}');
  parentPort!.on('message', async (record: string) => {
    const began = performance.now();
    const receipt = await http.erase(record);
    parentPort!.postMessage({ ms: performance.now() - began, receipt } satisfies TimedErasure);
  });
}
