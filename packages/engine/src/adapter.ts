import { AdapterError } from './errors.ts';

/**
 * Which kernel variants an adapter gets:
 * - `software`: a CPU rasteriser with subgroups and read-only storage textures (lavapipe under Dawn)
 * - `gpu`: a real GPU
 * - `portable`: anything else that runs WebGPU (SwiftShader, Deno's own WebGPU on lavapipe)
 */
export type AdapterClass = 'software' | 'gpu' | 'portable';

export interface AdapterChoice {
  /** A WebGPU entry point to use instead of `navigator.gpu` or Dawn. */
  gpu?: GPU;
  powerPreference?: GPUPowerPreference;
}

/** An adapter, and the object that must outlive everything made from it. */
export interface FoundAdapter {
  gpu: GPU;
  adapter: GPUAdapter;
  adapterClass: AdapterClass;
}

const SOFTWARE_NAMES = /llvmpipe|lavapipe/i;
const EMULATED_NAMES = /swiftshader|basic render|llvmpipe|lavapipe/i;

/** Finds the WebGPU adapter of this process. @throws AdapterError when there is none, saying what to install. */
export async function findAdapter(choice: AdapterChoice = {}): Promise<FoundAdapter> {
  const gpu = choice.gpu ?? (await openGpu());
  const adapter = await gpu.requestAdapter({ powerPreference: choice.powerPreference });
  if (!adapter) {
    throw new AdapterError(
      'no WebGPU adapter: install a Vulkan driver (Debian, Ubuntu: mesa-vulkan-drivers >= 24 and libvulkan1), or run `npm run setup` in the checkout',
    );
  }
  return { gpu, adapter, adapterClass: classify(adapter) };
}

function classify(adapter: GPUAdapter): AdapterClass {
  const { vendor, architecture, device, description } = adapter.info;
  const name = [vendor, architecture, device, description].join(' ');
  const hasSubgroups = adapter.features.has('subgroups' as GPUFeatureName);
  if (SOFTWARE_NAMES.test(name) && hasSubgroups && 'subgroupMaxSize' in adapter.info) {
    return adapter.info.subgroupMaxSize === adapter.info.subgroupMinSize ? 'software' : 'portable';
  }
  return EMULATED_NAMES.test(name) || adapter.info.isFallbackAdapter ? 'portable' : 'gpu';
}

/**
 * Dawn's entry point, one for the process and never let go: once it is collected the process crashes if anything made from it
 * is still referenced, a destroyed device included.
 */
let dawnEntry: GPU | null = null;

async function openGpu(): Promise<GPU> {
  const native = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (native) return native;
  if (dawnEntry) return dawnEntry;
  let dawn: typeof import('webgpu');
  try {
    dawn = await import('webgpu');
  } catch (cause) {
    throw new AdapterError('no WebGPU in this runtime: install the npm package `webgpu` (Dawn)', { cause });
  }
  Object.assign(globalThis, dawn.globals);
  dawnEntry = dawn.create(['enable-dawn-features=vulkan_enable_f16_on_nvidia']);
  return dawnEntry;
}
