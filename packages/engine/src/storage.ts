import type { Device } from './device.ts';
import { EngineError } from './errors.ts';

/** The bytes of a storage as a texture, for kernels that load through the texture unit. */
export interface TextureForm {
  /** Whose bytes they are. */
  source: Storage;
  texture: GPUTexture | null;
  width: number;
  height: number;
  /** The version of the storage it was copied from. */
  version: number;
  /** Why it does not hold that, if it does not. */
  spoilt: EngineError | null;
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
  /** How many f16 it holds; 0 where it holds anything else. Kernels read and write them as f32. */
  halves = 0;
  /** Content that never changes: its texture forms may be kept across steps. */
  constant = false;
  readonly textures: Map<string, TextureForm> = new Map();
  #buffer: GPUBuffer | null;
  #owners = 1;
  /** Where a value of a captured step stands; null for every other storage. */
  #captured: 'waiting' | 'ready' | 'gone' | null;
  /** Why its value is lost, if it is. */
  #spoilt: EngineError | null = null;
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
    this.#captured = buffer === null ? 'waiting' : null;
  }

  /** Whether it is a value of a captured step that has not run yet. */
  get isVirtual(): boolean {
    return this.#captured === 'waiting' && this.#owners > 0;
  }

  /** Its memory. @throws EngineError when there is none, or none with a value in it */
  get buffer(): GPUBuffer {
    if (this.#captured === 'gone')
      throw new EngineError('the captured step that made this value was disposed');
    if (this.#captured === 'waiting' && this.#owners > 0)
      throw new EngineError('a value of a captured step has no memory before the first replay');
    if (this.#buffer === null) throw new EngineError('use of a disposed tensor');
    this.assertSound();
    return this.#buffer;
  }

  /** The memory that the plan of a captured step gave it, or its own: what bind groups are prepared with. */
  get plannedBuffer(): GPUBuffer {
    return this.#captured === 'waiting' && this.#buffer !== null ? this.#buffer : this.buffer;
  }

  get isAlive(): boolean {
    return this.#owners > 0;
  }

  /** Gives a value of a captured step the buffer that its plan chose. */
  assign(buffer: GPUBuffer): void {
    this.#buffer = buffer;
    this.#release = null;
  }

  /** @throws EngineError that says why its value is lost, if it is */
  assertSound(): void {
    if (this.#spoilt) throw this.#spoilt;
  }

  /** Says that its value is lost: commands that wrote it did not run. */
  spoil(why: EngineError): void {
    this.#spoilt ??= why;
  }

  /** Says that the step has run, or that it and its memory are gone. */
  settle(state: 'ready' | 'gone'): void {
    this.#captured = state;
    if (state === 'gone') this.#buffer = null;
  }

  retain(): this {
    if (this.#owners === 0) throw new EngineError('use of a disposed tensor');
    this.#owners++;
    return this;
  }

  /** Zeroes the memory and destroys every copy of it, then lets go: for what must not be found again. */
  destroy(): void {
    if (this.#owners === 0) return;
    // Now, even while a step is captured: the step must not zero whatever the memory holds next.
    if (this.#buffer && !this.#spoilt && !this.device.isClosed)
      this.device.outsideCapture(() => this.device.run({ kind: 'clear', target: this }));
    // A captured step may still name them.
    for (const form of this.textures.values())
      form.spoilt ??= new EngineError('a tensor that the captured step uses was destroyed');
    this.device.destroyTextures([...this.textures.values()].flatMap(({ texture }) => texture ?? []));
    this.textures.clear();
    this.release();
  }

  release(): void {
    if (this.#owners === 0) return;
    this.#owners--;
    if (this.#owners > 0) return;
    for (const { texture } of this.textures.values()) if (texture) this.device.recycleTexture(texture);
    this.textures.clear();
    // A value of a captured step keeps its place in the plan: the step still writes it.
    if (this.#captured !== null) return;
    if (this.#buffer && this.#release) this.#release(this.#buffer);
    this.#buffer = null;
  }
}
