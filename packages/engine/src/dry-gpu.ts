// A GPUDevice that grants any memory and does nothing: with it the engine's own code says how much it would take.

/** What an object of WebGPU is here: whatever it is asked to do, it does not. */
const IDLE: object = new Proxy(() => {}, {
  get: (_, name) => (name === 'then' || typeof name === 'symbol' ? undefined : IDLE),
  apply: () => IDLE,
});

/** Limits of a device, by name, and what it can; what is not named here is not asked for. */
export interface DryLimits {
  /** Bytes of one buffer, and of it what a kernel binds at once. */
  maxBufferSize: number;
  maxStorageBufferBindingSize: number;
  maxTextureDimension2D?: number;
  /** Those of its features that the engine asks for: `shader-f16`, say. Default: none. */
  features?: readonly string[];
}

/** @param limits those of the device that is planned for */
export function dryGpu({ features, ...limits }: DryLimits): GPUDevice {
  const buffer = ({ size }: { size: number }) => ({
    size,
    destroy() {},
    unmap() {},
    mapAsync: async () => {},
    getMappedRange: () => new ArrayBuffer(size),
  });
  const texture = ({ size }: { size: readonly number[] | { width: number; height?: number } }) => {
    const [width = 1, height = 1] = 'width' in size ? [size.width, size.height] : size;
    return { width, height, destroy() {}, createView: () => IDLE };
  };
  const own: Record<string, unknown> = {
    limits: {
      maxTextureDimension2D: 8192,
      maxComputeWorkgroupsPerDimension: 65535,
      maxComputeWorkgroupStorageSize: 16384,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupSizeX: 256,
      minStorageBufferOffsetAlignment: 256,
      ...limits,
    },
    features: new Set(features),
    adapterInfo: { vendor: '', architecture: '', device: '', description: 'none: memory is only counted' },
    lost: new Promise(() => {}),
    queue: {
      submit() {},
      writeBuffer() {},
      onSubmittedWorkDone: async () => {},
    },
    createBuffer: buffer,
    createTexture: texture,
    popErrorScope: async () => null,
    createComputePipelineAsync: async () => IDLE,
  };
  return new Proxy(own, {
    get: (target, name) => (name === 'then' ? undefined : (target[name as string] ?? IDLE)),
  }) as unknown as GPUDevice;
}
