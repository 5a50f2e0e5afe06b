import { CHECKED_FROM } from './allocations.ts';

const NOTHING = Promise.resolve(null);

/**
 * A buffer that the host maps. Whether a large one was granted is known later; until then what goes wrong where it is used is kept
 * from everybody else, for whom nothing is wrong.
 */
export class Staging {
  readonly buffer: GPUBuffer;
  /** Whether it is large enough to be refused. */
  readonly isLarge: boolean;
  readonly #gpu: GPUDevice;
  readonly #refusal: Promise<GPUError | null>;
  #fault: Promise<GPUError | null> = NOTHING;

  constructor(gpu: GPUDevice, bytes: number) {
    this.#gpu = gpu;
    this.isLarge = bytes >= CHECKED_FROM;
    if (this.isLarge) gpu.pushErrorScope('out-of-memory');
    this.buffer = gpu.createBuffer({ size: bytes, usage: 0x0001 | 0x0008 }); // MAP_READ | COPY_DST
    this.#refusal = this.isLarge ? answerOf(gpu) : NOTHING;
  }

  /** Runs `copy`, which submits what fills the buffer. */
  fill(copy: () => void): void {
    if (this.isLarge) this.#gpu.pushErrorScope('validation');
    try {
      copy();
    } finally {
      if (this.isLarge) this.#fault = answerOf(this.#gpu);
    }
  }

  /** Resolves when the host can read it. */
  async map(): Promise<void> {
    if (this.isLarge) this.#gpu.pushErrorScope('validation');
    const mapped = this.buffer.mapAsync(0x0001);
    // What is wrong is told by the promise, too.
    if (this.isLarge) void answerOf(this.#gpu);
    await mapped;
  }

  /** Whether there was no memory for it, or what else WebGPU found wrong with filling it. */
  async outcome(): Promise<{ isRefused: boolean; fault: GPUError | null }> {
    const [refusal, fault] = await Promise.all([this.#refusal, this.#fault]);
    return { isRefused: refusal !== null, fault };
  }
}

/** A device that is lost meanwhile reports that by itself. */
function answerOf(gpu: GPUDevice): Promise<GPUError | null> {
  return gpu.popErrorScope().catch(() => null);
}
