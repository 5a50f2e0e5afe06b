import { CHECKED_FROM } from './allocations.ts';

/** Bytes of device memory: buffers held by tensors, kept for reuse, the most that tensors held at once, and textures. */
export interface MemoryReport {
  liveBytes: number;
  pooledBytes: number;
  peakBytes: number;
  buffers: number;
  /** The rearranged copies of weights and operands that some adapters read as textures, in use or kept for reuse. */
  textureBytes: number;
}

/** Whether something turned out to have no memory: it is not handed out again. */
type IsRefused = (memory: GPUBuffer | GPUTexture) => boolean;

const USAGE = 0x0004 | 0x0008 | 0x0080; // COPY_SRC | COPY_DST | STORAGE

/**
 * Buffers by size class. A returned buffer is handed out again at once: WebGPU orders the commands that use it.
 * What is destroyed is destroyed only after the commands that may use it were submitted (`trim` is called then).
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free: Map<number, GPUBuffer[]> = new Map();
  readonly #limit: number;
  readonly #isRefused: IsRefused;
  readonly #largest: number;
  #live = 0;
  #pooled = 0;
  #peak = 0;
  #count = 0;

  constructor(device: GPUDevice, poolLimitBytes: number, isRefused: IsRefused) {
    this.#device = device;
    this.#limit = poolLimitBytes;
    this.#isRefused = isRefused;
    this.#largest = Math.floor(device.limits.maxBufferSize / 16) * 16;
  }

  /** @param onCreate gets a buffer that is new, and large enough to be refused, with what will be known of that */
  take(bytes: number, onCreate: (buffer: GPUBuffer, outcome: Promise<GPUError | null>) => void): GPUBuffer {
    // A class never goes past what the device grants a buffer.
    const size = Math.max(bytes, Math.min(sizeClass(bytes), this.#largest));
    const free = this.#free.get(size);
    let buffer = free?.pop();
    if (buffer) {
      this.#pooled -= size;
    } else {
      if (size >= CHECKED_FROM) this.#device.pushErrorScope('out-of-memory');
      buffer = this.#device.createBuffer({ size, usage: USAGE });
      if (size >= CHECKED_FROM) onCreate(buffer, this.#device.popErrorScope());
      this.#count++;
    }
    this.#live += size;
    if (this.#live > this.#peak) this.#peak = this.#live;
    return buffer;
  }

  give(buffer: GPUBuffer): void {
    this.#live -= buffer.size;
    if (this.#isRefused(buffer)) {
      this.#count--;
      buffer.destroy();
      return;
    }
    this.#pooled += buffer.size;
    const free = this.#free.get(buffer.size);
    if (free) free.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
  }

  /** Destroys what is kept if it is beyond the limit (or with `everything`). Call only after a submit. */
  trim(everything = false): void {
    if (!everything && this.#pooled <= this.#limit) return;
    for (const [size, free] of this.#free) {
      for (const buffer of free) buffer.destroy();
      this.#pooled -= size * free.length;
      this.#count -= free.length;
    }
    this.#free.clear();
  }

  report(): Omit<MemoryReport, 'textureBytes'> {
    return {
      liveBytes: this.#live,
      pooledBytes: this.#pooled,
      peakBytes: this.#peak,
      buffers: this.#count,
    };
  }
}

/** Textures of four f32 channels by size, kept like buffers. */
export class TexturePool {
  readonly #device: GPUDevice;
  readonly #free: Map<string, GPUTexture[]> = new Map();
  readonly #limit: number;
  readonly #isRefused: IsRefused;
  #pooled = 0;
  /** Bytes of all textures, in use or kept. */
  bytes = 0;

  constructor(device: GPUDevice, poolLimitBytes: number, isRefused: IsRefused) {
    this.#device = device;
    this.#limit = poolLimitBytes;
    this.#isRefused = isRefused;
  }

  /** @param onCreate gets a texture that is new, and large enough to be refused, with what will be known of that */
  take(
    width: number,
    height: number,
    onCreate: (texture: GPUTexture, outcome: Promise<GPUError | null>) => void,
  ): GPUTexture {
    const known = this.#free.get(`${width}x${height}`)?.pop();
    if (known) {
      this.#pooled -= bytesOf(known);
      return known;
    }
    const usage = 0x01 | 0x02 | 0x08; // COPY_SRC | COPY_DST | STORAGE_BINDING
    const isChecked = width * height * 16 >= CHECKED_FROM;
    if (isChecked) this.#device.pushErrorScope('out-of-memory');
    const made = this.#device.createTexture({ size: [width, height], format: 'rgba32float', usage });
    this.bytes += bytesOf(made);
    if (isChecked) onCreate(made, this.#device.popErrorScope());
    return made;
  }

  give(texture: GPUTexture): void {
    if (this.#isRefused(texture)) {
      this.destroy(texture);
      return;
    }
    this.#pooled += bytesOf(texture);
    const key = `${texture.width}x${texture.height}`;
    const free = this.#free.get(key);
    if (free) free.push(texture);
    else this.#free.set(key, [texture]);
  }

  /** Destroys a texture that was taken. Commands that use it must have been submitted. */
  destroy(texture: GPUTexture): void {
    this.bytes -= bytesOf(texture);
    texture.destroy();
  }

  /** Destroys what is kept if it is beyond the limit (or with `everything`). Call only after a submit. */
  trim(everything = false): void {
    if (!everything && this.#pooled <= this.#limit) return;
    for (const free of this.#free.values()) for (const texture of free) this.destroy(texture);
    this.#free.clear();
    this.#pooled = 0;
  }
}

function bytesOf(texture: GPUTexture): number {
  return texture.width * texture.height * 16;
}

/** Powers of two up to 64 KiB, then steps of an eighth of the next power of two: at most 14 % is wasted. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const power = 2 ** Math.ceil(Math.log2(bytes));
  if (power <= 65_536) return power;
  const step = power / 16;
  return Math.ceil(bytes / step) * step;
}
