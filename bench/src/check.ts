import { operations, type ReferenceArray } from '@s3t/engine';
import type { ProductWork, RowsWork, Work } from './cases.ts';
import { values } from './inputs.ts';

/** Operands of a work that is not a net, in the order the engines take them. */
export function operandsOf(work: Exclude<Work, { kind: 'step' }>): Operand[] {
  const operand = (seed: number, ...shape: number[]): Operand => ({
    shape,
    values: values(
      seed,
      shape.reduce((product, extent) => product * extent, 1),
    ),
  });
  if (work.kind === 'product') {
    const { m, n, k, layout } = work;
    return [
      layout === 'TN' ? operand(0, k, m) : operand(0, m, k),
      layout === 'NT' ? operand(1, n, k) : operand(1, k, n),
    ];
  }
  if (work.kind === 'attention') {
    const shape = [work.batch, work.tokens, work.width];
    // The last is the gradient that comes in.
    return [0, 1, 2, 3].map((seed) => operand(seed, ...shape));
  }
  const x = operand(0, work.rows, work.width);
  if (work.operation === 'add') return [x, operand(1, work.rows, work.width)];
  return work.operation === 'layerNorm' ? [x, operand(1, work.width), operand(2, work.width)] : [x];
}

export interface Operand {
  shape: number[];
  values: Float32Array<ArrayBuffer>;
}

/** Epsilon of the LayerNorm that is timed. */
export const EPSILON = 1e-6;

/** Largest error, relative to the largest value. */
const TOLERANCE = 2e-4;
/** A gradient through four blocks, against this project's engine. */
const STEP_TOLERANCE = 2e-3;

/** What is wrong with a result against float64; null when it is right, or when `sampleOf` has to be compared with another engine's. */
export function faultOf(work: Work, result: ArrayLike<number>): string | null {
  if (work.kind === 'product') return faultOfProduct(work, result);
  if (work.kind === 'step') return null;
  const inputs = operandsOf(work).map(
    ({ shape, values: data }): ReferenceArray => ({ shape, data: Float64Array.from(data) }),
  );
  const expected =
    work.kind === 'attention'
      ? referenceOf('attention', inputs.slice(0, 3), { heads: work.heads, keyHeads: work.heads })
      : referenceOf(
          work.operation,
          inputs,
          work.operation === 'layerNorm' ? { epsilon: EPSILON } : undefined,
        );
  // With gradients, the output comes first.
  return differenceOf(expected, Array.prototype.slice.call(result, 0, expected.length), TOLERANCE);
}

function referenceOf(
  name: RowsWork['operation'] | 'attention',
  inputs: readonly ReferenceArray[],
  attributes: unknown,
): Float64Array {
  return operations.get(name)!.declaration.reference(inputs, attributes);
}

/** A sample of a result, small enough to be sent to the parent. */
export function sampleOf(result: ArrayLike<number>): number[] {
  const count = Math.min(result.length, 512);
  return Array.from({ length: count }, (_, i) => result[Math.floor((i * result.length) / count)]!);
}

/** How the sample of another engine differs from this project's. */
export function sampleFault(work: Work, own: readonly number[], other: readonly number[]): string | null {
  return differenceOf(own, other, work.kind === 'step' ? STEP_TOLERANCE : TOLERANCE);
}

function differenceOf(
  expected: ArrayLike<number>,
  actual: ArrayLike<number>,
  tolerance: number,
): string | null {
  if (expected.length !== actual.length) return `${actual.length} values instead of ${expected.length}`;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(actual[i]! - expected[i]!) <= tolerance * largest))
      return `value ${i} is ${actual[i]} instead of ${expected[i]}`;
  return null;
}

function faultOfProduct(work: ProductWork, c: ArrayLike<number>): string | null {
  const { m, n, k, layout } = work;
  const [a, b] = operandsOf(work).map(({ values: data }) => data) as [Float32Array, Float32Array];
  if (c.length !== m * n) return `${c.length} values instead of ${m * n}`;
  for (let sample = 0; sample < 64; sample++) {
    const i = (sample * 7919) % m;
    const j = (sample * 104729) % n;
    let expected = 0;
    for (let l = 0; l < k; l++) {
      const left = a[layout === 'TN' ? l * m + i : i * k + l]!;
      const right = b[layout === 'NT' ? j * k + l : l * n + j]!;
      expected += left * right;
    }
    const actual = c[i * n + j]!;
    if (!(Math.abs(actual - expected) < 1e-3)) return `C[${i}, ${j}] is ${actual} instead of ${expected}`;
  }
  return null;
}
