import type { EngineError } from './errors.ts';
import type { Storage } from './storage.ts';

/**
 * Watches whether memory that was asked for was granted, which WebGPU tells only later: until then commands that use it are
 * queued, and if it was refused none of what was submitted with them ran. So every storage that is written meanwhile is
 * remembered, and spoilt if the answer is no: what it holds then is not what was computed. Everything else stays good.
 */
export class Allocations {
  readonly #outstanding: Set<Promise<void>> = new Set();
  readonly #touched: Set<Storage> = new Set();
  readonly #refused: WeakSet<GPUBuffer> = new WeakSet();
  #shortage: EngineError | null = null;

  /** Whether an answer is outstanding. */
  get areUnsure(): boolean {
    return this.#outstanding.size > 0;
  }

  /**
   * @param outcome the answer: the error of the scope around the allocation
   * @param explain the error to report
   * @param onRefused called before what was touched is spoilt
   */
  watch(
    buffer: GPUBuffer,
    outcome: Promise<GPUError | null>,
    explain: () => EngineError,
    onRefused: () => void,
  ): void {
    const answered = outcome
      // A device that is lost meanwhile reports that by itself.
      .catch(() => null)
      .then((error) => {
        this.#outstanding.delete(answered);
        if (error) {
          const shortage = explain();
          this.#refused.add(buffer);
          this.#shortage ??= shortage;
          onRefused();
          for (const storage of this.#touched) storage.spoil(shortage);
        }
        if (error || this.#outstanding.size === 0) this.#touched.clear();
      });
    this.#outstanding.add(answered);
  }

  /** Notes that a storage's value depends on an answer that is outstanding. */
  touch(storage: Storage): void {
    if (this.areUnsure) this.#touched.add(storage);
  }

  /** Resolves when every answer is known. */
  async settled(): Promise<void> {
    await Promise.all(this.#outstanding);
  }

  isRefused(buffer: GPUBuffer): boolean {
    return this.#refused.has(buffer);
  }

  /** The first shortage that nobody was told of yet. */
  takeShortage(): EngineError | null {
    const shortage = this.#shortage;
    this.#shortage = null;
    return shortage;
  }
}
