import type { EngineError } from './errors.ts';
import type { Storage, TextureForm } from './storage.ts';

/** Whether there is memory is asked from this size on: what is smaller fails long after what is larger, and is much. */
export const CHECKED_FROM: number = 2 ** 20;

/**
 * Watches whether memory that was asked for was granted, which WebGPU tells only later: until then commands that use it are
 * queued, and if it was refused none of what was submitted with them ran. So every storage that is written meanwhile is
 * remembered, and spoilt if the answer is no: what it holds then is not what was computed. So is every texture form. Everything
 * else stays good.
 */
export class Allocations {
  readonly #outstanding: Set<Promise<void>> = new Set();
  readonly #touched: Set<Storage | TextureForm> = new Set();
  readonly #refused: WeakMap<GPUBuffer | GPUTexture, EngineError> = new WeakMap();
  #shortage: EngineError | null = null;

  /** Whether an answer is outstanding. */
  get areUnsure(): boolean {
    return this.#outstanding.size > 0;
  }

  /**
   * @param outcome the answer: the error of the scope around the allocation
   * @param onRefused called before what was touched is spoilt; returns the error to report
   */
  watch(
    memory: GPUBuffer | GPUTexture,
    outcome: Promise<GPUError | null>,
    onRefused: () => EngineError,
  ): void {
    const answered = outcome
      // A device that is lost meanwhile reports that by itself.
      .catch(() => null)
      .then((error) => {
        this.#outstanding.delete(answered);
        if (error) {
          const shortage = onRefused();
          this.#refused.set(memory, shortage);
          this.#shortage ??= shortage;
          for (const each of this.#touched) {
            if ('spoil' in each) each.spoil(shortage);
            else each.spoilt = shortage;
          }
        }
        if (error || this.#outstanding.size === 0) this.#touched.clear();
      });
    this.#outstanding.add(answered);
  }

  /** Notes that the value of a storage or a texture form depends on an answer, if one is outstanding. */
  touch(written: Storage | TextureForm): void {
    if (this.areUnsure) this.#touched.add(written);
  }

  /** Resolves when every answer is known. */
  async settled(): Promise<void> {
    await Promise.all(this.#outstanding);
  }

  isRefused(memory: GPUBuffer | GPUTexture): boolean {
    return this.#refused.has(memory);
  }

  /** @throws EngineError that says what there was no memory for, if it is known that there was none */
  assertGranted(memory: GPUBuffer | GPUTexture): void {
    const shortage = this.#refused.get(memory);
    if (shortage) throw shortage;
  }

  /** The first shortage that nobody was told of yet. */
  takeShortage(): EngineError | null {
    const shortage = this.#shortage;
    this.#shortage = null;
    return shortage;
  }
}
