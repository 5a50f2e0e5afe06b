import type { Tensor } from '@s3t/engine';

/** What a piece of work holds on a device. All of it is given back when the work ends, also where it ends while it still gathers. */
export class Owned {
  readonly #releases: (() => void)[] = [];

  /** @param release gives `of` back */
  add<T>(of: T, release: (of: T) => void): T {
    this.#releases.push(() => release(of));
    return of;
  }

  /** Gives everything back, last first. */
  release(): void {
    for (const release of this.#releases.splice(0).reverse()) release();
  }
}

/** What `make` makes with what it adds; where it throws nothing stays. */
export function ownedUnless<T>(make: (owned: Owned) => T): T {
  const owned = new Owned();
  try {
    return make(owned);
  } catch (error) {
    owned.release();
    throw error;
  }
}

/** Zeroes tensors on the device and gives them back. */
export function destroyAll(tensors: Iterable<Tensor>): void {
  for (const tensor of tensors) tensor.destroy();
}
