import type { AdapterClass } from './adapter.ts';
import type { Packing } from './data-type.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';

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

const BINDS: readonly Bound[] = ['a', 'b', 'c', 'bias', 'extra'];

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

/**
 * The kernel for a product on a class of adapters. This table is checked in and part of the kernel digest; nothing is tuned
 * at run time.
 *
 * The bits of a row of C depend on that row of op(A), on op(B), the bias, alpha and the adapter class, never on m or batch: every
 * kernel here computes an element of C as one chain of multiply-adds in the order of k, and tile sizes (which may follow m)
 * only decide who computes it. Where the chain is cut into parts, that follows from k alone. `matmul-variants.test.ts` checks it
 * bit by bit.
 *
 * @throws EngineError when an extent is not a positive integer, or the product is too large for one dispatch.
 */
export function chooseMatmul(adapterClass: AdapterClass, problem: MatmulProblem): MatmulPlan {
  checkExtents(problem);
  const plan = planOf(adapterClass, problem);
  const most = Math.max(...plan.workgroups);
  if (most > MOST_WORKGROUPS)
    throw new EngineError(
      `matmul: ${most} workgroups in one dimension, ${MOST_WORKGROUPS} are possible; split the product`,
    );
  return plan;
}

/**
 * The kernel of `software` adapters for products of matrices that do not lie one after the other, such as the heads of
 * attention. Their bits are those of products of copies.
 * @param problem its n is a multiple of four
 */
export function choosePlacedMatmul(problem: MatmulProblem, placements: Placements): MatmulPlan {
  return panelPlan(problem, placements);
}

/** What WebGPU grants in each dimension of a dispatch. */
const MOST_WORKGROUPS = 65_535;

function planOf(adapterClass: AdapterClass, problem: MatmulProblem): MatmulPlan {
  switch (adapterClass) {
    case 'software':
      if (isForFewRows(problem)) return packedRowsPlan(problem);
      if (isFlat(problem)) return flatPlan(problem);
      return problem.n % 4 === 0 ? panelPlan(byAdapter(problem, LEAST_ROWS)) : broadcastPlan(problem);
    case 'gpu':
      return problem.subgroupMatrix ? matrixPlan(problem) : tiledPlan(problem);
    case 'portable':
      return registersPlan(byAdapter(problem, REGISTER_ROWS));
  }
}

/** The part of up that a panel holds must fit the registers as B's does. */
const MOST_RANK = 64;

/**
 * A product with a low-rank change as a batch with one entry an adapter, which all use B. Without the change where that does not
 * pay: every entry loads B for itself.
 */
function byAdapter(problem: MatmulProblem, leastRows: number): MatmulProblem {
  const { m, lowRank } = problem;
  if (!lowRank) return problem;
  const { rank, adapters } = lowRank;
  const rows = m / adapters;
  if (rank > MOST_RANK || (adapters > 1 && rows < leastRows)) return { ...problem, lowRank: undefined };
  return { ...problem, batch: adapters, m: rows, sharedB: true, lowRank: { ...lowRank, adapters: 1 } };
}

/** The subgroup size of lavapipe. */
const LANES = 8;
/** Rows of C the panel kernel computes at once. */
const ROWS_AT_ONCE = 4;
/** Rows of op(B) a panel holds: its code and what it spills still fit the first-level caches. */
const PANEL_DEPTH = 64;
/** A k up to this is one panel: better one that is somewhat too deep than a second. */
const WHOLE_PANEL_DEPTH = 96;
/** Rows of C whose partial sums fit 16 KiB of workgroup memory, the least that WebGPU grants. */
const DEEP_ROWS = 128;
/** With fewer rows a workgroup spends more on loading its panel than on using it. */
const LEAST_ROWS = 32;
/** Workgroups that keep the cores evenly busy, if there are enough rows. */
const WANTED_WORKGROUPS = 16;

/** The fast kernel of lavapipe, which writes four columns at a time. */
function panelPlan(problem: MatmulProblem, placements = denselyPlaced(problem)): MatmulPlan {
  const { m, n, k, transposeA, transposeB, batch, lowRank } = problem;
  const span = n <= 16 ? 4 : LANES;
  const deep = k > WHOLE_PANEL_DEPTH;
  const depth = deep ? PANEL_DEPTH : k;
  const columnTiles = Math.ceil(n / (4 * span));
  const share = Math.max(LEAST_ROWS, Math.ceil((m * columnTiles * batch) / WANTED_WORKGROUPS));
  const step = ROWS_AT_ONCE * (LANES / span);
  // Their sums wait in workgroup memory.
  const waits = deep || lowRank !== undefined;
  // As many for each workgroup: lavapipe deals them out to its threads by number, not by what they cost.
  const tiles = Math.ceil(m / Math.min(m, share, waits ? DEEP_ROWS : m));
  const rows = step * Math.ceil(m / tiles / step);
  return {
    kernel: 'matmul/panel',
    constants: {
      SPAN: span,
      DEPTH: depth,
      K_REST: k % depth,
      DEEP: deep,
      TILE_ROWS: waits ? DEEP_ROWS : 1,
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
      ...epilogue(problem),
      ...(lowRank && { RANK: lowRank.rank }),
    },
    unroll: true,
    binds: BINDS,
    operands: { a: 'texture', b: 'texture', lowRank: lowRank ? 'texture' : null },
    workgroups: [columnTiles, Math.ceil(m / rows), batch],
    params: panelParams(problem, placements, rows),
    combine: null,
  };
}

/** Rows whose sums the flat kernel keeps in flight at most: as many as LoRA has ranks. */
const MOST_FLAT_ROWS = 32;
/** With fewer columns one core has nothing to do. */
const LEAST_FLAT_COLUMNS = 64;
/** What one core computes while another wakes up. */
const WAKING_FLOPS = 2 ** 19;

/**
 * Whether C, or its transpose, has few rows and many columns, is A^T B, or A B^T with B the few, and is added to C at most: the
 * gradients of LoRA's matrices, and its hidden values.
 */
function isFlat(problem: MatmulProblem): boolean {
  const { m, n, k, batch, transposeA, transposeB, sharedA, sharedB, packingB } = problem;
  const [few, many] = m < n ? [m, n] : [n, m];
  const isWhole = transposeB ? n < m && k % 4 === 0 : many % 4 === 0;
  const fits =
    transposeA !== transposeB && isWhole && few % 4 === 0 && few <= MOST_FLAT_ROWS && many >= 4 * few;
  const isDense = !sharedA && !sharedB && (packingB?.bits ?? 32) >= 16;
  return fits && many * batch >= LEAST_FLAT_COLUMNS && isDense && isPlain(problem);
}

/** The kernel of lavapipe for few rows: it reads buffers, as copies of them would cost more than they spare. */
function flatPlan({ m, n, k, batch, transposeB, alpha = 1, accumulate = false }: MatmulProblem): MatmulPlan {
  const isTurned = m >= n;
  const [rows, columns] = isTurned ? [n, m] : [m, n];
  const blocks = Math.ceil(columns / (4 * LANES));
  // Lavapipe's first thread begins while the second still wakes up, and whoever is done takes what is over after an even share.
  const ahead = Math.round(WAKING_FLOPS / (8 * LANES * rows * k));
  const turns = ahead > 0 ? Math.max(1, Math.ceil((blocks - ahead) / 4)) : 1;
  const words = new Uint32Array([columns, k, 0, turns]);
  new Float32Array(words.buffer)[2] = alpha;
  return {
    kernel: 'matmul/flat',
    constants: { ROWS: rows, TURNED: isTurned, K_LAST: transposeB, ACCUMULATE: accumulate },
    unroll: true,
    binds: isTurned ? ['b', 'a', 'c'] : ['a', 'b', 'c'],
    operands: { a: 'buffer', b: 'buffer', lowRank: null },
    workgroups: [Math.ceil(blocks / turns), 1, batch],
    params: words,
    combine: null,
  };
}

/** With more rows it pays to unpack B first: by the bits of its elements. */
const MOST_PACKED_ROWS: Readonly<Record<number, number>> = { 4: 16, 8: 16, 16: 4 };
/** Elements of a row of B that share nothing with the next ones but a scale. */
const PACKED_BLOCK = 32;

/** Whether a product reads a packed weight for so few rows that unpacking it would cost more. */
function isForFewRows({ m, n, k, batch, transposeA, transposeB, packingB }: MatmulProblem): boolean {
  const fits = n % 4 === 0 && k % PACKED_BLOCK === 0 && batch === 1 && !transposeA && transposeB;
  return fits && m <= (MOST_PACKED_ROWS[packingB?.bits ?? 32] ?? 0);
}

/** The kernel of lavapipe for few rows and a packed weight, as it is packed. */
function packedRowsPlan(problem: MatmulProblem): MatmulPlan {
  const { m, n, k, alpha = 1 } = problem;
  const { bits, scales, group } = problem.packingB!;
  const rows = m === 1 ? 1 : ROWS_AT_ONCE;
  const words = new Uint32Array([m, n, k, 0, scales]);
  new Float32Array(words.buffer)[3] = alpha;
  return {
    kernel: 'matmul/packed_rows',
    constants: {
      ROWS: rows,
      B_BITS: bits,
      SCALE_BLOCKS: bits === 4 ? group / PACKED_BLOCK : 0,
      ...epilogue(problem),
    },
    unroll: true,
    binds: BINDS,
    operands: { a: 'buffer', b: 'buffer', lowRank: null },
    workgroups: [Math.ceil(n / (4 * LANES)), Math.ceil(m / rows), 1],
    params: words,
    combine: null,
  };
}

/** Matrices one after the other, as the kernel's texture forms hold them: rows of whole texels. */
function denselyPlaced({ m, n, k, transposeA, transposeB, sharedA, sharedB }: MatmulProblem): Placements {
  const dense = (rows: number, columns: number, shared = false): Placement => {
    const row = 4 * Math.ceil(columns / 4);
    return { start: 0, row, head: 0, batch: shared ? 0 : rows * row };
  };
  return {
    heads: 1,
    a: transposeA ? dense(k, m, sharedA) : dense(m, k, sharedA),
    b: transposeB ? dense(n, k, sharedB) : dense(k, n, sharedB),
    c: dense(m, n),
  };
}

function panelParams(
  { m, n, k, alpha = 1, lowRank }: MatmulProblem,
  { a, b, c, heads }: Placements,
  rows: number,
): Uint32Array<ArrayBuffer> {
  const places = [a, b, c].flatMap(({ start, row, head, batch }) => [start, row, head, batch]);
  const words = new Uint32Array([m, n, k, 0, ...places.map((elements) => elements / 4), heads, rows, 0]);
  const floats = new Float32Array(words.buffer);
  floats[3] = alpha;
  floats[words.length - 1] = lowRank?.scale ?? 0;
  return words;
}

/** The kernel of lavapipe for any n: the classes of a small head, tokens that are no multiple of 4. */
function broadcastPlan(problem: MatmulProblem): MatmulPlan {
  const { m, n, k, transposeA, transposeB, batch } = problem;
  const tileRows = 8;
  return {
    kernel: 'matmul/broadcast',
    constants: {
      TILE_ROWS: tileRows,
      RAGGED: k % (4 * LANES) !== 0,
      TRANSPOSE_A: transposeA,
      TRANSPOSE_B: transposeB,
      ...epilogue(problem),
    },
    unroll: true,
    binds: BINDS,
    operands: { a: 'texture', b: 'texture', lowRank: null },
    workgroups: [Math.ceil(n / (4 * LANES)), Math.ceil(m / tileRows), batch],
    params: params(problem, 4),
    combine: null,
  };
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
      // Both tiles in the 16 KiB of workgroup memory that WebGPU grants.
      TILE_K: isLarge ? 8 : 16,
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
function partsOf(problem: MatmulProblem): { parts: number; depth: number } {
  const { k, transposeA, transposeB } = problem;
  if (!transposeA || transposeB || !isPlain(problem) || k < 2 * LEAST_PART) return { parts: 1, depth: k };
  const depth = Math.max(LEAST_PART, 16 * Math.ceil(k / MOST_PARTS / 16));
  return { parts: Math.ceil(k / depth), depth };
}

/** Whether nothing is done to an element but adding it to what C holds. */
function isPlain({ bias, residual, activation, lowRank }: MatmulProblem): boolean {
  return !bias && !residual && !activation && !lowRank;
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

/** What happens to an element after its chain, as constants of the kernels. */
function epilogue(problem: MatmulProblem): Record<string, number | boolean> {
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
function params(
  problem: MatmulProblem,
  unit: number,
  { parts, depth } = { parts: 1, depth: problem.k },
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

function checkExtents({ m, n, k, batch }: MatmulProblem): void {
  if ([m, n, k, batch].some((extent) => !Number.isInteger(extent) || extent < 1))
    throw new EngineError(`matmul: no product of [${batch}, ${m}, ${k}] and [${batch}, ${k}, ${n}]`);
}
