import type { Device } from './device.ts';
import { EngineError } from './errors.ts';

/** The bytes of a storage as a texture, for kernels that load through the texture unit. */
export interface TextureForm {
  texture: GPUTexture | null;
  width: number;
  height: number;
  /** The version of the storage it was copied from. */
  version: number;
}

/**
 * A block of device memory, counted by the tensors that look at it.
 *
 * While a step is captured no buffer stands behind it yet: `buffer` is null until the plan of the step gives it one.
 */
export class Storage {
  readonly device: Device;
  readonly bytes: number;
  /** Counts writes, so that a cached texture form knows whether it still holds the same values. */
  version = 0;
  /** Content that never changes: its texture forms may be kept across steps. */
  constant = false;
  readonly textures: Map<string, TextureForm> = new Map();
  #buffer: GPUBuffer | null;
  #owners = 1;
  /** What takes the buffer back when the last tensor lets go; null while captured. */
  #release: ((buffer: GPUBuffer) => void) | null;

  constructor(
    device: Device,
    bytes: number,
    buffer: GPUBuffer | null,
    release: ((b: GPUBuffer) => void) | null,
  ) {
    this.device = device;
    this.bytes = bytes;
    this.#buffer = buffer;
    this.#release = release;
  }

  get isVirtual(): boolean {
    return this.#buffer === null && this.#owners > 0;
  }

  get buffer(): GPUBuffer {
    if (this.#buffer === null) {
      throw new EngineError(
        this.#owners > 0
          ? 'a value of a captured step has no memory before the first replay'
          : 'use of a disposed tensor',
      );
    }
    return this.#buffer;
  }

  get isAlive(): boolean {
    return this.#owners > 0;
  }

  /** Gives a captured storage the buffer that its plan chose. */
  assign(buffer: GPUBuffer): void {
    this.#buffer = buffer;
    this.#release = null;
  }

  retain(): this {
    if (this.#owners === 0) throw new EngineError('use of a disposed tensor');
    this.#owners++;
    return this;
  }

  /** Zeroes the memory and destroys every copy of it, then lets go: for what must not be found again. */
  destroy(): void {
    if (this.#owners === 0) return;
    this.device.run({ kind: 'clear', target: this });
    for (const { texture } of this.textures.values()) if (texture) this.device.destroyTexture(texture);
    this.textures.clear();
    this.release();
  }

  release(): void {
    if (this.#owners === 0) return;
    this.#owners--;
    if (this.#owners > 0) return;
    for (const { texture } of this.textures.values()) if (texture) this.device.recycleTexture(texture);
    this.textures.clear();
    if (this.#buffer && this.#release) this.#release(this.#buffer);
    this.#buffer = null;
  }
}
