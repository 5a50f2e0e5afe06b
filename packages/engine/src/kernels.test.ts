import { sources } from '@s3t/kernels';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { hasSubgroupMatrix, SUBGROUP_MATRIX } from './adapter.ts';
import { packingOf } from './data-type.ts';
import { Device } from './index.ts';
import { chooseMatmul } from './matmul-variants.ts';
import { specialise } from './specialise.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

/** What the adapter of the tests does not offer is held against Dawn's null backend: it compiles and runs nothing. */
const EXPERIMENTAL = 'matmul/subgroup_matrix';

async function errorsOf(gpu: GPUDevice, code: string): Promise<string[]> {
  const { messages } = await gpu.createShaderModule({ code }).getCompilationInfo();
  return messages
    .filter(({ type }) => type === 'error')
    .map(({ lineNum, message }) => `${lineNum}: ${message}`);
}

test.each(Object.keys(sources).filter((name) => name !== EXPERIMENTAL))(
  '%s is valid WGSL as it stands',
  async (name) => {
    expect(await errorsOf(device.gpu, sources[name]!)).toEqual([]);
  },
);

test('the subgroup matrix kernel is valid in all its forms, whose pipelines Dawn accepts', async () => {
  const { create } = await import('webgpu');
  const entry = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = (await entry.requestAdapter())!;
  const requiredFeatures = ['subgroups', 'shader-f16', SUBGROUP_MATRIX] as GPUFeatureName[];
  const gpu = await adapter.requestDevice({ requiredFeatures });
  const shape = { m: 20, n: 70, k: 40, batch: 2, subgroupMatrix: true };
  const packed = packingOf('int8', [70, 40]);
  for (const problem of [
    { ...shape, transposeA: false, transposeB: true, bias: true, activation: 'gelu' },
    { ...shape, transposeA: true, transposeB: false, accumulate: true },
    { ...shape, transposeA: false, transposeB: true, residual: true, packingB: packed },
  ] as const) {
    const { kernel, constants, unroll } = chooseMatmul('gpu', problem);
    expect(kernel).toBe(EXPERIMENTAL);
    const code = specialise(kernel, sources[kernel]!, constants, { unroll });
    expect(await errorsOf(gpu, code)).toEqual([]);
    gpu.pushErrorScope('validation');
    gpu.createComputePipeline({ layout: 'auto', compute: { module: gpu.createShaderModule({ code }) } });
    expect((await gpu.popErrorScope())?.message).toBeUndefined();
  }
  gpu.destroy();
  // Dawn crashes when its entry point is collected before its devices.
  expect(entry).toBeDefined();
});

test('only adapters that multiply 16 x 16 f16 in subgroups of 32 get that kernel', () => {
  const config = { componentType: 'f16', resultComponentType: 'f32', M: 16, N: 16, K: 16 };
  const adapter = (names: string[], info: object) =>
    ({ features: new Set(names), info }) as unknown as GPUAdapter;
  const names = ['subgroups', 'shader-f16', SUBGROUP_MATRIX];
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [config] };
  expect(hasSubgroupMatrix(adapter(names, info))).toBe(true);
  expect(hasSubgroupMatrix(adapter(names.slice(0, 2), info))).toBe(false);
  expect(hasSubgroupMatrix(adapter(names, { ...info, subgroupMaxSize: 64 }))).toBe(false);
  expect(hasSubgroupMatrix(adapter(names, { ...info, subgroupMatrixConfigs: [{ ...config, K: 8 }] }))).toBe(
    false,
  );
  expect(hasSubgroupMatrix(adapter(names, { subgroupMinSize: 32, subgroupMaxSize: 32 }))).toBe(false);
});

test('asking for subgroup matrices where there are none warns, and computes in f32', async () => {
  const onWarning = vi.fn();
  using plain = await Device.open({ subgroupMatrix: true, onWarning });
  expect(plain.subgroupMatrix).toBe(false);
  expect(onWarning).toHaveBeenCalledTimes(1);
  expect(onWarning.mock.calls[0]![0]).toContain('no subgroup matrices of 16 x 16 f16; using f32 products');
});
