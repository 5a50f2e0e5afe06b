/** Bytes of device memory: held by tensors, kept for reuse, and the most that tensors held at once. */
export interface MemoryReport {
  liveBytes: number;
  pooledBytes: number;
  peakBytes: number;
  buffers: number;
}

const USAGE = 0x0004 | 0x0008 | 0x0080; // COPY_SRC | COPY_DST | STORAGE

/**
 * Buffers by size class. A returned buffer is handed out again at once: WebGPU orders the commands that use it.
 * What is destroyed is destroyed only after the commands that may use it were submitted (`trim` is called then).
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free: Map<number, GPUBuffer[]> = new Map();
  readonly #limit: number;
  #live = 0;
  #pooled = 0;
  #peak = 0;
  #count = 0;

  constructor(device: GPUDevice, poolLimitBytes: number) {
    this.#device = device;
    this.#limit = poolLimitBytes;
  }

  take(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const free = this.#free.get(size);
    let buffer = free?.pop();
    if (buffer) {
      this.#pooled -= size;
    } else {
      buffer = this.#device.createBuffer({ size, usage: USAGE });
      this.#count++;
    }
    this.#live += size;
    if (this.#live > this.#peak) this.#peak = this.#live;
    return buffer;
  }

  give(buffer: GPUBuffer): void {
    this.#live -= buffer.size;
    this.#pooled += buffer.size;
    const free = this.#free.get(buffer.size);
    if (free) free.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
  }

  /** Destroys a buffer that was taken. Commands that use it must have been submitted. */
  destroy(buffer: GPUBuffer): void {
    this.#live -= buffer.size;
    this.#count--;
    buffer.destroy();
  }

  /** Destroys kept buffers beyond the limit (all of them with `everything`). Call only after a submit. */
  trim(everything = false): void {
    if (!everything && this.#pooled <= this.#limit) return;
    for (const [size, free] of this.#free) {
      for (const buffer of free) buffer.destroy();
      this.#pooled -= size * free.length;
      this.#count -= free.length;
    }
    this.#free.clear();
  }

  report(): MemoryReport {
    return {
      liveBytes: this.#live,
      pooledBytes: this.#pooled,
      peakBytes: this.#peak,
      buffers: this.#count,
    };
  }
}

/** Powers of two up to 64 KiB, then steps of an eighth of the next power of two: at most 14 % is wasted. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const power = 2 ** Math.ceil(Math.log2(bytes));
  if (power <= 65_536) return power;
  const step = power / 16;
  return Math.ceil(bytes / step) * step;
}
