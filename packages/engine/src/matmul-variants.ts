import type { AdapterClass } from './adapter.ts';
import { EngineError } from './errors.ts';
import { gpuPlan, partsOf } from './matmul-gpu.ts';
import { BINDS, byAdapter, epilogue, type MatmulPlan, type MatmulProblem, params } from './matmul-problem.ts';
import { softwarePlan } from './matmul-software.ts';

/**
 * The kernel for a product on a class of adapters. This table is checked in and part of the kernel digest; nothing is tuned
 * at run time.
 *
 * The bits of a row of C depend on that row of op(A), on op(B), the bias, alpha and the adapter class, never on m or batch: every
 * kernel here computes an element of C as one chain of multiply-adds in the order of k, and tile sizes (which may follow m)
 * only decide who computes it. Where the chain is cut into parts, that follows from k alone. `matmul-variants.test.ts` checks it
 * bit by bit. One thing a GPU's compiler may still decide: whether a sum of nothing but negative zeros, from zero on, is 0 or -0.
 *
 * @param problem its m, n and batch are at most `MOST_AT_ONCE`
 * @throws EngineError when an extent is not a positive integer
 */
export function chooseMatmul(adapterClass: AdapterClass, problem: MatmulProblem): MatmulPlan {
  checkExtents(problem);
  switch (adapterClass) {
    case 'software':
      return softwarePlan(problem);
    case 'gpu':
      return gpuPlan(problem);
    case 'portable':
      return registersPlan(byAdapter(problem, REGISTER_ROWS));
  }
}

/** How many matrices like C a product is added up from: 1 where it is written at once. */
export function partialsOf(adapterClass: AdapterClass, problem: MatmulProblem): number {
  return adapterClass === 'gpu' && !problem.subgroupMatrix ? partsOf(problem).parts : 1;
}

/**
 * The most rows, columns and products that every kernel takes in one launch of 65,535 workgroups a dimension: at least four
 * rows or columns each, and products of which k is cut into sixteen parts.
 */
export const MOST_AT_ONCE: Readonly<Record<'m' | 'n' | 'batch', number>> = {
  m: 4 * 65_535,
  n: 4 * 65_535,
  batch: Math.floor(65_535 / 16),
};

/** Rows an invocation computes, if there are so many. */
const REGISTER_ROWS = 8;

function registersPlan(problem: MatmulProblem): MatmulPlan {
  const { m, n, transposeA, transposeB, batch, packingB, lowRank } = problem;
  const rows = m <= 4 ? 4 : REGISTER_ROWS;
  const groupX = 8;
  return {
    kernel: 'matmul/registers',
    constants: {
      ROWS: rows,
      GROUP_X: groupX,
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
      ...epilogue(problem),
      B_BITS: packingB?.bits ?? 32,
      ...(lowRank && { LOW_RANK: 1 }),
    },
    unroll: true,
    binds: BINDS,
    operands: { a: 'buffer', b: 'buffer', lowRank: lowRank ? 'buffer' : null },
    workgroups: [Math.ceil(n / (4 * groupX)), Math.ceil(m / rows), batch],
    params: params(problem, 1),
    combine: null,
  };
}

function checkExtents({ m, n, k, batch }: MatmulProblem): void {
  if ([m, n, k, batch].some((extent) => !Number.isInteger(extent) || extent < 1))
    throw new EngineError(`matmul: no product of [${batch}, ${m}, ${k}] and [${batch}, ${k}, ${n}]`);
}
