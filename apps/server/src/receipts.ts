import type { Receipt } from '@s3t/unlearner';
import type { Service } from './service.ts';

/** Receipts that are listed; older ones are found by their ids. */
const MOST = 10_000;

/** The run's receipts, for lists: those of earlier processes are read once, when somebody first asks. */
export class Receipts {
  readonly #service: Service;
  readonly #stop: () => void;
  /** By erasure, oldest first. */
  #known: Map<string, Receipt> = new Map();
  #recalled: Promise<void> | undefined;
  /** When erasures were repaired, until those of earlier processes are read; null from then on. */
  #repaired: Map<string, string> | null = new Map();

  constructor(service: Service) {
    this.#service = service;
    this.#stop = service.on((event) => {
      if (event.type === 'erased') this.#add(event.receipt);
      if (event.type !== 'repaired') return;
      for (const erasure of event.erasures) {
        if (this.#repaired) keep(this.#repaired, erasure, event.at);
        this.#note(erasure, event.at);
      }
    });
  }

  /** The newest first. */
  async newest(limit: number): Promise<Receipt[]> {
    this.#recalled ??= this.#recall().catch((error: unknown) => {
      this.#recalled = undefined;
      throw error;
    });
    await this.#recalled;
    return [...this.#known.values()].slice(-limit).reverse();
  }

  /** The run was lost: what opening it again finishes is told by no event. */
  lost(): void {
    this.#recalled = undefined;
    this.#repaired ??= new Map();
  }

  close(): void {
    this.#stop();
  }

  async #recall(): Promise<void> {
    const past = (await this.#service.receipts?.()) ?? [];
    const since = this.#known.values();
    this.#known = new Map();
    for (const receipt of past) this.#add(receipt);
    // What happened while they were read may or may not be among them.
    for (const receipt of since) this.#add({ ...this.#known.get(receipt.erasure), ...receipt });
    for (const [erasure, at] of this.#repaired ?? []) this.#note(erasure, at);
    this.#repaired = null;
  }

  #note(erasure: string, repairedAt: string): void {
    const receipt = this.#known.get(erasure);
    if (receipt) this.#known.set(erasure, { ...receipt, repairedAt });
  }

  #add(receipt: Receipt): void {
    keep(this.#known, receipt.erasure, receipt);
  }
}

/** Puts something into a map that forgets its oldest. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.set(key, value);
  if (map.size > MOST) map.delete(map.keys().next().value!);
}
