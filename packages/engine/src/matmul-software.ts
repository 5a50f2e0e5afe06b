import { SOFTWARE_LANES as LANES } from './adapter.ts';
import {
  BINDS,
  byAdapter,
  epilogue,
  isPlain,
  type MatmulPlan,
  type MatmulProblem,
  type Placement,
  type Placements,
  params,
} from './matmul-problem.ts';

/** The kernels of lavapipe. */
export function softwarePlan(problem: MatmulProblem): MatmulPlan {
  if (isForFewRows(problem)) return packedRowsPlan(problem);
  if (isFlat(problem)) return flatPlan(problem);
  return problem.n % 4 === 0 ? panelPlan(byAdapter(problem, LEAST_ROWS)) : broadcastPlan(problem);
}

/**
 * The kernel of `software` adapters for products of matrices that do not lie one after the other, such as the heads of
 * attention. Their bits are those of products of copies.
 * @param problem its n is a multiple of four
 */
export function choosePlacedMatmul(problem: MatmulProblem, placements: Placements): MatmulPlan {
  return panelPlan(problem, placements);
}

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
/** What lavapipe's first thread computes while the second still wakes up. */
const WAKING_FLOPS = 2 ** 19;
/** A product of so many times that much takes long enough to make it nothing. */
const LONG_PRODUCT = 16;

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
  const turns = flatTurns(blocks, 8 * LANES * rows * k);
  const words = new Uint32Array([columns, k, 0, turns]);
  new Float32Array(words.buffer)[2] = alpha;
  return {
    kernel: 'matmul/flat',
    constants: { ROWS: rows, TURNED: isTurned, K_LAST: Number(transposeB), ACCUMULATE: accumulate },
    unroll: true,
    binds: isTurned ? ['b', 'a', 'c'] : ['a', 'b', 'c'],
    operands: { a: 'buffer', b: 'buffer', lowRank: null },
    workgroups: [Math.ceil(blocks / turns), 1, batch],
    params: words,
    combine: null,
  };
}

/**
 * How many blocks of columns a workgroup takes. A short product on two threads is done soonest where each has as many of four workgroups,
 * and a fifth, with what the first thread can do before the second is awake, is left for whoever is done first.
 */
function flatTurns(blocks: number, blockFlops: number): number {
  const ahead = Math.round(WAKING_FLOPS / blockFlops);
  const isShort = blocks * blockFlops < LONG_PRODUCT * WAKING_FLOPS;
  return isShort && ahead > 0 ? Math.max(1, Math.ceil((blocks - ahead) / 4)) : 1;
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
  const words = new Uint32Array([m, n, k, 0, ...places.map((elements) => elements / 4), heads, rows, 0, 0]);
  const floats = new Float32Array(words.buffer);
  floats[3] = alpha;
  floats[words.length - 2] = lowRank?.scale ?? 0;
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
