/** Parameter blocks kept for reuse: an attribute that changes every step would make one more each time. */
const MOST_UNIFORMS = 4096;

/** Small read-only blocks of parameters; blocks of equal content are shared. */
export class Uniforms {
  readonly #device: GPUDevice;
  readonly #known: Map<string, GPUBuffer> = new Map();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get(params: Uint32Array<ArrayBuffer>): GPUBuffer {
    const key = params.join();
    let buffer = this.#known.get(key);
    if (!buffer) {
      const size = Math.ceil(params.byteLength / 16) * 16;
      buffer = this.#device.createBuffer({ size, usage: 0x0040 | 0x0008 }); // UNIFORM | COPY_DST
      this.#device.queue.writeBuffer(buffer, 0, params);
      // Forgotten, not destroyed: captured steps may still bind some.
      if (this.#known.size >= MOST_UNIFORMS) this.#known.clear();
      this.#known.set(key, buffer);
    }
    return buffer;
  }
}
