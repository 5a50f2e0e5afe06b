import type { Packing } from './data-type.ts';

/**
 * One product C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ scale * hidden * up^T) (+ residual)), row-major: op(A) is [m, k], op(B) is
 * [k, n], C is [batch, m, n].
 */
export interface MatmulProblem {
  m: number;
  n: number;
  k: number;
  /** A is stored as [k, m]. */
  transposeA: boolean;
  /** B is stored as [n, k]: the weight of a linear layer. */
  transposeB: boolean;
  /** Number of products. */
  batch: number;
  /** A is one matrix that all products of the batch use. Default false. */
  sharedA?: boolean;
  /** B is one matrix that all products of the batch use. Default false. */
  sharedB?: boolean;
  /** Default 1. */
  alpha?: number;
  /** Add a bias [n] to every row. Default false. */
  bias?: boolean;
  /** Add to what C holds. Default false. */
  accumulate?: boolean;
  /** Add a tensor like C, bound as `extra`. Default false. */
  residual?: boolean;
  /** Apply this at last; what C would be without it goes to `extra`. Not together with a residual. */
  activation?: Activation;
  /** Add a low-rank change; only to a batch of one product. Not together with accumulation. */
  lowRank?: LowRank;
  /** How B is packed, where a kernel reads its buffer. Default f32. */
  packingB?: Packing;
  /** On `gpu`: round A and B to f16 and use subgroup matrices. Default false. */
  subgroupMatrix?: boolean;
}

/** The change scale * hidden * up^T of a product: its adapters take turns in m, each for as many rows as the others. */
export interface LowRank {
  /** hidden is [m, rank], up is [adapters, n, rank]. */
  rank: number;
  adapters: number;
  scale: number;
}

/** Where an operand's matrices lie, in elements, multiples of four: the first, and from one row, head and batch row to the next. */
export interface Placement {
  start: number;
  row: number;
  head: number;
  batch: number;
}

/** Where the matrices of a product lie; the batch counts the heads of each batch row. */
export interface Placements {
  heads: number;
  a: Placement;
  b: Placement;
  c: Placement;
}

export type Activation = 'gelu' | 'silu';

/** The number of an activation in kernels; 0 for none. */
export function activationNumber(activation: Activation | undefined): number {
  return activation === undefined ? 0 : activation === 'gelu' ? 1 : 2;
}

/** What kernels bind. `extra` is the residual, or where the values before the activation go. */
export type Bound = 'a' | 'b' | 'c' | 'bias' | 'extra';

export const BINDS: readonly Bound[] = ['a', 'b', 'c', 'bias', 'extra'];

/**
 * How to compute a product. `operands` says in which form A and B are read. C may not be A, B or the bias; without a bias, bind
 * any buffer but C in its place (A's, say). Where `extra` has no use, bind a buffer that has no other in this launch.
 */
export interface MatmulPlan {
  kernel: string;
  constants: Record<string, number | boolean>;
  unroll: boolean;
  /** What to bind from 0 on; `params` follow. */
  binds: readonly Bound[];
  operands: {
    a: OperandForm;
    b: OperandForm;
    /** Of hidden and up, bound as 6 and 7; null: the kernel adds no low-rank change, another product has to. */
    lowRank: OperandForm | null;
  };
  workgroups: [number, number, number];
  params: Uint32Array<ArrayBuffer>;
  /** A product deep in k is computed in parts: the kernel writes [batch, parts, m, n] instead of C, and then this adds them up. */
  combine: Combine | null;
}

/** How to add up the parts of a product: bind them, C and `params` as 0, 1 and 2. */
export interface Combine {
  kernel: 'matmul/combine';
  parts: number;
  constants: Record<string, boolean>;
  workgroups: [number, number, number];
  params: Uint32Array<ArrayBuffer>;
}

export type OperandForm = 'buffer' | 'texture';

/** The part of up that a panel holds must fit the registers as B's does. */
const MOST_RANK = 64;

/**
 * A product with a low-rank change as a batch with one entry an adapter, which all use B. Without the change where that does not
 * pay: every entry loads B for itself.
 */
export function byAdapter(problem: MatmulProblem, leastRows: number): MatmulProblem {
  const { m, lowRank } = problem;
  if (!lowRank) return problem;
  const { rank, adapters } = lowRank;
  const rows = m / adapters;
  if (rank > MOST_RANK || (adapters > 1 && rows < leastRows)) return { ...problem, lowRank: undefined };
  return { ...problem, batch: adapters, m: rows, sharedB: true, lowRank: { ...lowRank, adapters: 1 } };
}

/** Whether nothing is done to an element but adding it to what C holds. */
export function isPlain({ bias, residual, activation, lowRank }: MatmulProblem): boolean {
  return !bias && !residual && !activation && !lowRank;
}

/** What happens to an element after its chain, as constants of the kernels. */
export function epilogue(problem: MatmulProblem): Record<string, number | boolean> {
  const { bias = false, accumulate = false, residual = false, activation } = problem;
  return {
    BIAS: bias,
    ACCUMULATE: accumulate,
    RESIDUAL: residual,
    ACTIVATION: activationNumber(activation),
  };
}

/**
 * The parameter block that all kernels but matmul/panel share (what follows the strides only matters to those that read
 * buffers); strides count `unit` elements.
 */
export function params(
  problem: MatmulProblem,
  unit: number,
  { parts, depth }: { parts: number; depth: number } = { parts: 1, depth: problem.k },
): Uint32Array<ArrayBuffer> {
  const { m, n, k, transposeA, transposeB, sharedA, sharedB, alpha = 1, packingB, lowRank } = problem;
  const aRow = Math.ceil((transposeA ? m : k) / unit);
  const bRow = Math.ceil((transposeB ? k : n) / unit);
  const aBatch = sharedA ? 0 : aRow * (transposeA ? k : m);
  const bBatch = sharedB ? 0 : bRow * (transposeB ? n : k);
  const { scales = 0, group = 1 } = packingB ?? {};
  const { rank = 1, adapters = 1, scale = 0 } = lowRank ?? {};
  const strides = [aRow, aBatch, bRow, bBatch];
  const rows = m / adapters;
  const words = new Uint32Array([m, n, k, 0, ...strides, scales, group, rank, rows, 0, parts, depth]);
  const floats = new Float32Array(words.buffer);
  floats[3] = alpha;
  floats[12] = scale;
  return words;
}
