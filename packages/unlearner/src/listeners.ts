import type { UnlearnerEvent } from './types.ts';

export type Listener = (event: UnlearnerEvent) => void;

/** Those who want to hear what happens in a run. */
export class Listeners {
  readonly #all: Set<Listener> = new Set();

  /** Returns how to stop. */
  add(listener: Listener): () => void {
    this.#all.add(listener);
    return () => this.#all.delete(listener);
  }

  emit(event: UnlearnerEvent): void {
    for (const listener of this.#all) {
      try {
        listener(event);
      } catch {
        // Somebody's progress bar must not stop an erasure.
      }
    }
  }
}
