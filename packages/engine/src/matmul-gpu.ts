import {
  BINDS,
  type Combine,
  epilogue,
  isPlain,
  type MatmulPlan,
  type MatmulProblem,
  params,
} from './matmul-problem.ts';
import { gridOf } from './operation.ts';

/** The kernels of adapters that are GPUs. */
export function gpuPlan(problem: MatmulProblem): MatmulPlan {
  return problem.subgroupMatrix ? matrixPlan(problem) : tiledPlan(problem);
}

/** Workgroups of the largest tile that keep a GPU busy; with fewer, smaller tiles spread the work. */
const MANY_TILES = 128;

/** Workgroups of up to 256 invocations, each with 4 x 4 elements, or 8 x 8 where there are enough. */
function tiledPlan(problem: MatmulProblem): MatmulPlan {
  const { m, n, transposeA, transposeB, batch, packingB, lowRank } = problem;
  const cut = partsOf(problem);
  const { parts } = cut;
  const tiles = Math.floor(m / 128) * Math.floor(n / 128) * batch * parts;
  // A low-rank change takes as many registers again.
  const isLarge = tiles >= MANY_TILES && !lowRank;
  const side = (extent: number): number => (isLarge ? 128 : extent <= 16 ? 16 : extent <= 32 ? 32 : 64);
  const [tileM, tileN] = [side(m), side(n)];
  const perThread = isLarge ? 8 : 4;
  const first = parts > 1 ? { ...problem, alpha: 1, accumulate: false } : problem;
  return {
    kernel: 'matmul/tiled',
    constants: {
      TILE_M: tileM,
      TILE_N: tileN,
      THREAD_M: perThread,
      THREAD_N: perThread,
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
      ...epilogue(first),
      B_BITS: packingB?.bits ?? 32,
      ...(lowRank && { LOW_RANK: 1 }),
    },
    unroll: true,
    binds: BINDS,
    operands: { a: 'buffer', b: 'buffer', lowRank: lowRank ? 'buffer' : null },
    workgroups: [Math.ceil(n / tileN), Math.ceil(m / tileM), batch * parts],
    params: params(first, 1, cut),
    combine: parts > 1 ? combinePlan(problem, parts) : null,
  };
}

/** Four subgroups of 32 invocations, each with 16 rows of a tile of 64 x 64. */
function matrixPlan(problem: MatmulProblem): MatmulPlan {
  const { m, n, transposeA, transposeB, batch, packingB } = problem;
  return {
    kernel: 'matmul/subgroup_matrix',
    constants: {
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
      ...epilogue(problem),
      B_BITS: packingB?.bits ?? 32,
    },
    unroll: false,
    binds: BINDS,
    operands: { a: 'buffer', b: 'buffer', lowRank: null },
    workgroups: [Math.ceil(n / 64), Math.ceil(m / 64), batch],
    params: params(problem, 1),
    combine: null,
  };
}

/** The least depth of a part, a whole number of the kernel's rounds. */
const LEAST_PART = 256;
/** Parts cost their size in memory traffic. */
const MOST_PARTS = 16;

/**
 * The gradient of a weight is a small matrix and a deep sum over all rows of a batch: too few elements to fill a GPU, unless k is
 * cut. Only such products (A transposed, nothing done to their elements afterwards) are, and how follows from k alone.
 */
export function partsOf(problem: MatmulProblem): { parts: number; depth: number } {
  const { k, transposeA, transposeB } = problem;
  if (!transposeA || transposeB || !isPlain(problem) || k < 2 * LEAST_PART) return { parts: 1, depth: k };
  const depth = Math.max(LEAST_PART, 16 * Math.ceil(k / MOST_PARTS / 16));
  return { parts: Math.ceil(k / depth), depth };
}

function combinePlan({ batch, m, n, alpha = 1, accumulate = false }: MatmulProblem, parts: number): Combine {
  const params = new Uint32Array([batch * m * n, m * n, parts, 0]);
  new Float32Array(params.buffer)[3] = alpha;
  return {
    kernel: 'matmul/combine',
    parts,
    constants: { ACCUMULATE: accumulate },
    workgroups: gridOf(batch * m * n),
    params,
  };
}
