import type { Device } from '../device.ts';
import { EngineError } from '../errors.ts';
import { type Apply, gridOf, operation, type ReferenceArray } from '../operation.ts';
import { philox } from '../philox.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { checkDraw, type RandomState } from './random.ts';

interface Draw {
  shape: Shape;
  stream: number;
}

/** The fourth word of a counter tells kinds of draws apart; 0 is dropout, 1 the host's `uniformValues`. */
const KIND = { uniform: 2, normal: 3 } as const;

/** Upper 24 bits of each word: the words of element 4i to 4i + 3 belong to counter i. */
function wordsOf(kind: keyof typeof KIND, state: ReferenceArray, { shape, stream }: Draw): number[] {
  const [low, high, step] = state.data as unknown as [number, number, number];
  return Array.from({ length: Math.ceil(sizeOf(shape) / 4) }, (_, i) =>
    philox([i, step, stream, KIND[kind]], [low, high]).map((word) => word >>> 8),
  ).flat();
}

function define(
  name: keyof typeof KIND,
  summary: string,
  reference: (words: number[], i: number) => number,
): Apply<Draw> {
  return operation<Draw>({
    name,
    summary,
    dtypes: ['u32'],
    shape: ([state], { shape, stream }) => {
      checkDraw(name, state!, stream);
      return shape;
    },
    forward: ({ inputs: [state], attributes: { stream }, output }) => {
      const count = output.storage.bytes / 16;
      output.device.dispatch('random/draw', {
        values: { normal: name === 'normal' },
        bindings: [state!.storage, output.storage],
        params: Uint32Array.of(count, stream, 0, 0),
        writes: [1],
        workgroups: gridOf(count),
      });
    },
    reference: ([state], draw) => {
      const words = wordsOf(name, state!, draw);
      return Float64Array.from({ length: sizeOf(draw.shape) }, (_, i) => reference(words, i));
    },
    cases: [
      { inputs: [{ shape: [4], below: 1000 }], attributes: { shape: [9, 7], stream: 2 } },
      { inputs: [{ shape: [4], below: 2 ** 32 }], attributes: { shape: [1], stream: 0 } },
    ],
  });
}

const applyUniform = define(
  'uniform',
  'evenly distributed in [0, 1), Philox-4x32-10 by key, step and stream',
  (words, i) => words[i]! / 2 ** 24,
);

const applyNormal = define(
  'normal',
  'normally distributed, mean 0 and deviation 1, Philox-4x32-10 by key, step and stream, Box-Muller',
  (words, i) => {
    const [a, b] = [words[i - (i % 2)]!, words[i - (i % 2) + 1]!];
    const radius = Math.sqrt(-2 * Math.log((a + 1) / 2 ** 24));
    const angle = (2 * Math.PI * b) / 2 ** 24;
    return radius * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
  },
);

/**
 * Values evenly distributed in [0, 1), multiples of 2^-24: element i is the upper 24 bits of word i % 4 of the counter
 * (i / 4, step, stream, 2). The same bits on every adapter. `stream` tells the uses within a step apart.
 */
export function uniform(random: RandomState, shape: Shape, stream: number): Tensor {
  return applyUniform([random.state], { shape, stream });
}

/**
 * Normally distributed values, mean 0 and standard deviation 1 (Box and Muller 1958), within +-5.8, drawn with the counters
 * (i / 4, step, stream, 3). Always the same bits on one adapter; adapters may differ in the last digits, where they round a
 * square root or a division otherwise or fuse a multiplication with an addition.
 */
export function normal(random: RandomState, shape: Shape, stream: number): Tensor {
  return applyNormal([random.state], { shape, stream });
}

/** 0, 1, 2, ... as f32 (exact up to 2^24) or u32, in row-major order. */
export function iota(device: Device, shape: Shape, dtype: 'f32' | 'u32' = 'f32'): Tensor {
  if (dtype !== 'f32' && dtype !== 'u32')
    throw new EngineError(`iota: [${shape}] of ${dtype}, which is neither f32 nor u32`);
  const result = empty(device, shape, dtype);
  device.dispatch('elementwise/iota', {
    values: { Element: dtype },
    bindings: [result.storage],
    params: Uint32Array.of(0),
    writes: [0],
    workgroups: gridOf(result.storage.bytes / 4),
  });
  return result;
}
