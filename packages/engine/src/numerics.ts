import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';
import type { Storage } from './storage.ts';
import type { Tensor } from './tensor.ts';

/** No check has found anything. */
const NONE = 0xffffffff;

/**
 * Finds the first operation that made a NaN or an infinity. After each operation a kernel looks at what it made and, if it is not
 * finite, notes its number; numbers follow the order of execution. Where values are read anyway, the smallest is read too.
 * In a captured step the looking is part of the step: its numbers count from where the replay stands.
 */
export class NumericsCheck {
  readonly #device: Device;
  readonly #first: Storage;
  readonly #zero: Storage;
  readonly #base: Storage;
  /** What every number since the last clean reading stands for. */
  #names: string[] = [];
  /** The same for the step that is being captured. */
  #stepNames: string[] = [];

  constructor(device: Device) {
    this.#device = device;
    [this.#first, this.#zero, this.#base] = [device.allocate(4), device.allocate(4), device.allocate(4)];
    device.upload(this.#zero, Uint32Array.of(0));
    device.upload(this.#first, Uint32Array.of(NONE));
  }

  /** Looks at what an operation made. */
  watch({ storage, size, shape, dtype }: Tensor, maker: string): void {
    if (dtype !== 'f32' && dtype !== 'f16') return;
    const names = this.#device.isCapturing ? this.#stepNames : this.#names;
    const number = names.push(`${maker}, shape [${shape}]`) - 1;
    this.#device.dispatch('check/finite', {
      values: { HALF: dtype === 'f16' },
      bindings: [storage, this.#device.isCapturing ? this.#base : this.#zero, this.#first],
      params: Uint32Array.of(size, number, 0, 0),
      writes: [2],
      workgroups: gridOf(size),
    });
  }

  /** What the step that was just captured looks at: hand it to `replaying`. */
  takeStep(): readonly string[] {
    const names = this.#stepNames;
    this.#stepNames = [];
    return names;
  }

  /** Gives the looks of the replay that is about to be submitted their numbers. */
  replaying(names: readonly string[]): void {
    this.#device.upload(this.#base, Uint32Array.of(this.#names.length));
    for (const name of names) this.#names.push(name);
  }

  /**
   * Starts afresh if nothing was found.
   * @param read reads a storage back, all work before being done
   * @throws EngineError naming the first operation whose result was not finite
   */
  async assertFinite(read: (storage: Storage, bytes: number) => Promise<ArrayBuffer>): Promise<void> {
    const names = this.#names;
    const [first] = new Uint32Array(await read(this.#first, 4));
    // What was queued meanwhile goes on from its number; forgetting names is only for when nobody counts on them.
    if (first === NONE) {
      if (names.length === this.#names.length) this.#names = [];
      return;
    }
    this.#device.upload(this.#first, Uint32Array.of(NONE));
    throw new EngineError(`checkNumerics: ${names[first!]} is the first result with a NaN or an infinity`);
  }
}
