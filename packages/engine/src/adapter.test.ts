import { expect, test } from 'vitest';
import { findAdapter } from './adapter.ts';

const entry = (info: object, features: readonly string[] = ['subgroups'], isFallbackAdapter = false): GPU => {
  const adapter = { info: { isFallbackAdapter, ...info }, features: new Set(features) };
  return { requestAdapter: async () => adapter } as unknown as GPU;
};

test.each([
  ['lavapipe', { description: 'llvmpipe (LLVM 15)', subgroupMinSize: 8, subgroupMaxSize: 8 }, 'software'],
  // Processors whose vectors have four or sixteen lanes: the kernels for eight would be wrong there.
  ['lavapipe of 4 lanes', { description: 'llvmpipe', subgroupMinSize: 4, subgroupMaxSize: 4 }, 'portable'],
  ['lavapipe of 16 lanes', { description: 'llvmpipe', subgroupMinSize: 16, subgroupMaxSize: 16 }, 'portable'],
  ['lavapipe that does not say', { description: 'llvmpipe' }, 'portable'],
  ['SwiftShader', { description: 'SwiftShader Device', subgroupMinSize: 4, subgroupMaxSize: 4 }, 'portable'],
  ['a GPU', { description: 'NVIDIA H100', subgroupMinSize: 32, subgroupMaxSize: 32 }, 'gpu'],
] as const)('%s', async (_name, info, expected) => {
  expect((await findAdapter({ gpu: entry(info) })).adapterClass).toBe(expected);
});

test('a fallback, and lavapipe without subgroups, get the portable kernels', async () => {
  expect((await findAdapter({ gpu: entry({ description: 'x' }, [], true) })).adapterClass).toBe('portable');
  const eight = { description: 'llvmpipe', subgroupMinSize: 8, subgroupMaxSize: 8 };
  expect((await findAdapter({ gpu: entry(eight, []) })).adapterClass).toBe('portable');
});
