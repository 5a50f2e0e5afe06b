import { paceTicks } from './dawn-ticks.ts';
import { AdapterError } from './errors.ts';

/**
 * Which kernel variants an adapter gets:
 * - `software`: a CPU rasteriser with subgroups of eight and read-only storage textures (lavapipe under Dawn)
 * - `gpu`: a real GPU
 * - `portable`: anything else that runs WebGPU (SwiftShader, Deno's own WebGPU on lavapipe, lavapipe on processors with vectors of
 *   another width)
 */
export type AdapterClass = 'software' | 'gpu' | 'portable';

export interface AdapterChoice {
  /** A WebGPU entry point to use instead of `navigator.gpu` or Dawn. */
  gpu?: GPU;
  powerPreference?: GPUPowerPreference;
  /**
   * On `gpu` adapters that offer Dawn's experimental subgroup matrices (tensor cores): products round both operands to f16 and
   * sum in f32. Off by default. Its kernel is validated by Dawn, but has not run on hardware yet: keep the self-check on.
   */
  subgroupMatrix?: boolean;
}

/** An adapter, and the object that must outlive everything made from it. */
export interface FoundAdapter {
  gpu: GPU;
  adapter: GPUAdapter;
  adapterClass: AdapterClass;
}

/** The subgroup size that the kernels of `software` adapters are written for: they are wrong with another. */
export const SOFTWARE_LANES = 8;

const SOFTWARE_NAMES = /llvmpipe|lavapipe/i;
const EMULATED_NAMES = /swiftshader|basic render|llvmpipe|lavapipe/i;

/** Finds the WebGPU adapter of this process. @throws AdapterError when there is none, saying what to install. */
export async function findAdapter(choice: AdapterChoice = {}): Promise<FoundAdapter> {
  const gpu = choice.gpu ?? (await openGpu(choice.subgroupMatrix ?? false));
  const adapter = await gpu.requestAdapter({ powerPreference: choice.powerPreference });
  if (!adapter) {
    throw new AdapterError(
      'no WebGPU adapter: install a Vulkan driver (Debian, Ubuntu: mesa-vulkan-drivers >= 24 and libvulkan1), or run `npm run setup` in the checkout',
    );
  }
  return { gpu, adapter, adapterClass: classify(adapter) };
}

function classify(adapter: GPUAdapter): AdapterClass {
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
  const name = [vendor, architecture, device, description].join(' ');
  const hasSubgroups = adapter.features.has('subgroups' as GPUFeatureName);
  const hasEight = subgroupMinSize === SOFTWARE_LANES && subgroupMaxSize === SOFTWARE_LANES;
  if (SOFTWARE_NAMES.test(name) && hasSubgroups && hasEight) return 'software';
  return EMULATED_NAMES.test(name) || adapter.info.isFallbackAdapter ? 'portable' : 'gpu';
}

/** What Dawn says of one kind of matrix that an adapter multiplies. */
interface SubgroupMatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

/** Whether an adapter has what matmul/subgroup_matrix is written for: 16 x 16 x 16, f16 to f32, in subgroups of 32. */
export function hasSubgroupMatrix({ features, info }: Pick<GPUAdapter, 'features' | 'info'>): boolean {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig> };
  const { subgroupMinSize, subgroupMaxSize } = info;
  return (
    ['subgroups', 'shader-f16', SUBGROUP_MATRIX].every((name) => features.has(name as GPUFeatureName)) &&
    subgroupMinSize === 32 &&
    subgroupMaxSize === 32 &&
    [...subgroupMatrixConfigs].some(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16,
    )
  );
}

/** The name of Dawn's feature. */
export const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix';

/**
 * Dawn's entry points by their features, never let go: once one is collected the process crashes if anything made from it
 * is still referenced, a destroyed device included.
 */
const dawnEntries: Map<string, GPU> = new Map();

async function openGpu(experimental: boolean): Promise<GPU> {
  const native = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (native) return native;
  const features = `vulkan_enable_f16_on_nvidia${experimental ? ',allow_unsafe_apis' : ''}`;
  const known = dawnEntries.get(features);
  if (known) return known;
  let dawn: typeof import('webgpu');
  try {
    dawn = await import('webgpu');
  } catch (cause) {
    throw new AdapterError('no WebGPU in this runtime: install the npm package `webgpu` (Dawn)', { cause });
  }
  Object.assign(globalThis, dawn.globals);
  paceTicks();
  const entry = dawn.create([`enable-dawn-features=${features}`]);
  dawnEntries.set(features, entry);
  return entry;
}
