import { Allocations } from './allocations.ts';
import { EngineError } from './errors.ts';
import { BufferPool, type MemoryReport, TexturePool } from './pool.ts';

/** The buffers and textures of a device, and whether there was memory for them. */
export class DeviceMemory {
  readonly allocations: Allocations = new Allocations();
  readonly #buffers: BufferPool;
  readonly #textures: TexturePool;
  readonly #beforeUnsure: () => void;
  readonly #onRefused: () => void;

  /**
   * @param hooks.beforeUnsure called before it is not sure of something that it was granted
   * @param hooks.onRefused called when it was not, before what depends on it is spoilt
   */
  constructor(
    gpu: GPUDevice,
    poolLimitBytes: number,
    hooks: { beforeUnsure: () => void; onRefused: () => void },
  ) {
    const isRefused = (memory: GPUBuffer | GPUTexture) => this.allocations.isRefused(memory);
    this.#buffers = new BufferPool(gpu, poolLimitBytes, isRefused);
    this.#textures = new TexturePool(gpu, poolLimitBytes, isRefused);
    this.#beforeUnsure = hooks.beforeUnsure;
    this.#onRefused = hooks.onRefused;
  }

  /** A buffer of the pool, or a new one: whether there was memory for it is known later. */
  take(bytes: number, what: string): GPUBuffer {
    return this.#buffers.take(bytes, (buffer, outcome) =>
      this.#watch(
        buffer,
        outcome,
        () => `${what}, ${bytes} bytes; tensors hold ${this.report().liveBytes} with it`,
      ),
    );
  }

  /** The same for a texture of four f32 channels. */
  takeTexture(width: number, height: number, what: string): GPUTexture {
    return this.#textures.take(width, height, (texture, outcome) =>
      this.#watch(
        texture,
        outcome,
        () => `${what}, ${width * height * 16} bytes; texture forms hold ${this.#textures.bytes} with it`,
      ),
    );
  }

  give(buffer: GPUBuffer): void {
    this.#buffers.give(buffer);
  }

  giveTexture(texture: GPUTexture): void {
    this.#textures.give(texture);
  }

  /** Destroys textures that were taken. Commands that use them must have been submitted. */
  destroyTextures(textures: readonly GPUTexture[]): void {
    for (const texture of textures) this.#textures.destroy(texture);
  }

  /** Destroys what is kept if it is beyond the limit (or with `everything`). Call only after a submit. */
  trim(everything = false): void {
    this.#buffers.trim(everything);
    this.#textures.trim(everything);
  }

  report(): MemoryReport {
    return { ...this.#buffers.report(), textureBytes: this.#textures.bytes };
  }

  /** The error for what there was no memory for. The next attempt shall find all the room there is. Call only after a submit. */
  shortage(what: string): EngineError {
    this.trim(true);
    return new EngineError(`out of memory: ${what}`);
  }

  #watch(memory: GPUBuffer | GPUTexture, outcome: Promise<GPUError | null>, what: () => string): void {
    if (!this.allocations.areUnsure) this.#beforeUnsure();
    this.allocations.watch(memory, outcome, () => {
      this.#onRefused();
      return this.shortage(what());
    });
  }
}
