import { type AdapterClass, SOFTWARE_LANES as LANES } from '../adapter.ts';
import { NAMED } from '../cutters.ts';
import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { operation, type ReferenceArray } from '../operation.ts';
import type { KernelValues } from '../pipeline.ts';
import { empty, type Shape, type Tensor } from '../tensor.ts';
import { launchAttentionGradient, reachOf } from './attention-products.ts';

/** Invocations that a GPU runs in step, at least. */
const WAVE = 32;
/** Heads this wide or wider are shared by the lanes of a subgroup. */
const SHARED_HEAD = 32;
/** What a launch over a cache says where batch row b has row b of it; see `NAMED`. */
const CACHED = 1;

export interface AttentionOptions {
  /** Heads of `k` and `v`; each serves heads / keyValueHeads heads of `q` (Ainslie et al. 2023). Default: as many as `q` has. */
  keyValueHeads?: number;
  /** Query i sees the keys up to i + offset only. Default false. */
  causal?: boolean;
  /** How many keys come before the first query, if causal. Default 0. */
  offset?: number;
  /** u32 [batch, keys]: no query sees a key whose mask is 0. Default: every key is seen. */
  mask?: Tensor;
}

/** How the heads of queries share those of keys and values. */
export interface Heads {
  heads: number;
  keyHeads: number;
}

interface Attention extends Heads {
  causal?: boolean;
  offset?: number;
}

export interface Geometry extends Heads {
  batch: number;
  queries: number;
  keys: number;
  headWidth: number;
}

function geometry(q: Shape, k: Shape, { heads, keyHeads }: Heads): Geometry {
  const [batch, queries, width] = q as [number, number, number];
  return { batch, queries, keys: k[1]!, heads, keyHeads, headWidth: width / heads };
}

/** @throws ShapeError unless queries [batch, queries, heads * width] fit keys and values [batch, keys, keyHeads * width] */
export function checkAttention(name: string, shapes: readonly Shape[], { heads, keyHeads }: Heads): void {
  const [q, k, v] = shapes as [Shape, Shape, Shape];
  if (q.length !== 3 || k.length !== 3)
    throw new ShapeError(`${name}: q [${q}] and k [${k}] must be [batch, token, width]`);
  const differing = k.findIndex((extent, axis) => extent !== v[axis]);
  if (differing >= 0) throw new ShapeError(`${name}: k [${k}] and v [${v}] differ in axis ${differing}`);
  if (v.length !== 3) throw new ShapeError(`${name}: k [${k}] and v [${v}] differ in rank`);
  if (q[0] !== k[0]) throw new ShapeError(`${name}: q [${q}] and k [${k}] differ in axis 0`);
  if (![heads, keyHeads].every((count) => Number.isInteger(count) && count > 0))
    throw new ShapeError(
      `${name}: ${heads} heads of q [${q}] and ${keyHeads} of k [${k}] must be whole numbers of 1 or more`,
    );
  if (heads % keyHeads !== 0)
    throw new ShapeError(`${name}: ${heads} heads of q [${q}] cannot share ${keyHeads} heads of k [${k}]`);
  if (q[2]! * keyHeads !== k[2]! * heads)
    throw new ShapeError(
      heads === keyHeads
        ? `${name}: q [${q}] and k [${k}] differ in axis 2`
        : `${name}: axis 2 of q [${q}] and k [${k}] is not ${heads} and ${keyHeads} heads of one width`,
    );
  if (q[2]! % (4 * heads) !== 0)
    throw new ShapeError(`${name}: axis 2 of q [${q}] is not ${heads} heads of a multiple of four`);
}

/** What a launch sees of the keys. */
export interface Sight {
  causal?: boolean;
  offset?: number;
  mask?: Tensor | undefined;
}

/** The variant of a kernel for a class of adapters and a width of heads, and how many rows its workgroups take. */
function variantOf(
  adapterClass: AdapterClass,
  kernel: 'forward' | 'backward_query' | 'backward_key',
  headWidth: number,
): { name: string; lanes: number; values: KernelValues } {
  if (adapterClass === 'software' && kernel === 'forward') {
    if (headWidth < SHARED_HEAD) return { name: 'forward_subgroup', lanes: LANES, values: {} };
    // Fewer queries of the widest: what they keep must be written out for each.
    const lanes = headWidth <= 64 ? 8 : 4;
    return { name: 'forward_wide', lanes, values: { ROWS: lanes } };
  }
  if (adapterClass !== 'gpu') return { name: kernel, lanes: LANES, values: {} };
  // Both tiles are within 16 KiB, what every adapter has. Four invocations share the width of a head.
  if (kernel === 'forward' && headWidth <= 128 && headWidth % 16 === 0)
    return { name: 'forward_tiled', lanes: 16, values: { LANES: 16, TILE: headWidth <= 64 ? 16 : 8 } };
  return { name: kernel, lanes: WAVE, values: { LANES: WAVE } };
}

/** Launches a kernel on workgroups that each take some of `rows` tokens, of one of `heads` heads. */
function launch(
  kernel: Parameters<typeof variantOf>[1],
  { batch, queries, keys, heads, keyHeads, headWidth }: Geometry,
  sight: Sight,
  grid: { rows: number; heads: number },
  tensors: readonly Tensor[],
  writes: readonly number[],
  extra: readonly number[] = [],
): void {
  const { device } = tensors[0]!;
  const scale = new Uint32Array(new Float32Array([1 / Math.sqrt(headWidth)]).buffer)[0]!;
  const { name, lanes, values } = variantOf(device.adapterClass, kernel, headWidth);
  device.dispatch(`attention/${name}`, {
    values: { head_width4: headWidth / 4, MASKED: sight.mask !== undefined, ...values },
    unroll: true,
    bindings: tensors.map((tensor) => tensor.storage),
    params: Uint32Array.of(queries, keys, heads, scale, reachOf(sight, keys), keyHeads, ...extra),
    writes,
    workgroups: [Math.ceil(grid.rows / lanes), grid.heads, batch],
  });
}

/**
 * Launches the forward kernel, which writes `y` and, per query, [log sum exp(scores), 0].
 * @param cached the offset of each batch row, u32 [batch], if it is not one for all, and the row of its keys, likewise
 * @returns [batch, heads, queries, 2]
 */
export function attend(
  [q, k, v]: readonly [q: Tensor, k: Tensor, v: Tensor],
  y: Tensor,
  heads: Heads,
  sight: Sight,
  cached?: { start: Tensor; rows?: Tensor | undefined },
): Tensor {
  const g = geometry(q.shape, k.shape, heads);
  const rows = empty(q.device, [g.batch, g.heads, g.queries, 2]);
  // What a specialisation does not read must be bound all the same.
  const tensors = [q, k, v, sight.mask ?? q, cached?.start ?? q, cached?.rows ?? q, y, rows];
  const grid = { rows: g.queries, heads: g.heads };
  const how = cached?.rows ? NAMED : cached ? CACHED : 0;
  launch('forward', g, sight, grid, tensors, [6, 7], [how, 0]);
  return rows;
}

const applyAttention = operation<Attention>({
  name: 'attention',
  summary:
    'softmax(q k^T / sqrt(head width)) v per head, rows [batch, token, head * width]; grouped queries, causal, masked keys',
  dtypes: [NUMBERS, NUMBERS, NUMBERS, 'u32'],
  shape: ([q, k, v, mask], attributes) => {
    checkAttention('attention', [q!, k!, v!], attributes);
    const { offset = 0 } = attributes;
    if (!Number.isInteger(offset) || offset < 0)
      throw new ShapeError(`attention: offset ${offset} is not a number of keys`);
    if (mask && mask.join() !== `${k![0]},${k![1]}`)
      throw new ShapeError(`attention: mask [${mask}] is not [batch, keys] of k [${k}]`);
    return q!;
  },
  forward: ({ inputs: [q, k, v, mask], attributes, output }) => [
    attend([q!, k!, v!], output, attributes, { ...attributes, mask }),
  ],
  gradient: ({ inputs: [q, k, v, mask], attributes, output: y, saved: [rows], gradient: dy, wanted }) => {
    const { device } = q!;
    const g = geometry(q!.shape, k!.shape, attributes);
    const sight = { ...attributes, mask };
    if (device.adapterClass === 'software') {
      const tape = { q: q!, k: k!, v: v!, y, dy, rows: rows! };
      return [...launchAttentionGradient(tape, g, sight, wanted), null];
    }
    const [dq, dk, dv] = [q!, k!, v!].map(({ shape }) => empty(device, shape)) as [Tensor, Tensor, Tensor];
    const perQuery = [q!, k!, v!, mask ?? q!, y, dy, dq, rows!];
    launch('backward_query', g, sight, { rows: g.queries, heads: g.heads }, perQuery, [6, 7]);
    const perKey = [q!, k!, v!, mask ?? q!, rows!, dy, dk, dv];
    launch('backward_key', g, sight, { rows: g.keys, heads: g.keyHeads }, perKey, [6, 7]);
    return [dq, dk, dv, null];
  },
  reference: ([q, k, v, mask], { causal = false, offset = 0, ...heads }) =>
    attentionReference(
      [q!, k!, v!],
      heads,
      (batch, i, j) => (!causal || j <= i + offset) && mask?.data[batch * k!.shape[1]! + j] !== 0,
    ),
  // Few numbers of tokens, few and narrow heads: of each, kernels are compiled.
  cases: [
    { inputs: sameWidth([2, 3, 8], 3), attributes: { heads: 2, keyHeads: 2 } },
    { inputs: sameWidth([1, 1, 16], 17), attributes: { heads: 1, keyHeads: 1 } },
    { inputs: sameWidth([2, 17, 32], 9), attributes: { heads: 2, keyHeads: 2 } },
    // A head that a subgroup shares, unevenly.
    { inputs: sameWidth([1, 9, 36], 9, 2), attributes: { heads: 1, keyHeads: 1 } },
    // Every query sees one key; the first sees one, the last all.
    { inputs: sameWidth([2, 1, 8], 1), attributes: { heads: 2, keyHeads: 2, causal: true } },
    { inputs: sameWidth([1, 17, 16], 17), attributes: { heads: 2, keyHeads: 2, causal: true } },
    {
      inputs: grouped([1, 9, 64], [1, 17, 32]),
      attributes: { heads: 4, keyHeads: 2, causal: true, offset: 8 },
    },
    { inputs: grouped([2, 3, 24], [2, 9, 8]), attributes: { heads: 3, keyHeads: 1 } },
    // More queries than keys, and keys that no query sees.
    { inputs: sameWidth([1, 17, 8], 3), attributes: { heads: 1, keyHeads: 1, causal: true, offset: 1 } },
    { inputs: sameWidth([1, 3, 8], 17), attributes: { heads: 1, keyHeads: 1, causal: true } },
    { inputs: sameWidth([3, 9, 16], 9, 2), attributes: { heads: 2, keyHeads: 2 } },
    { inputs: grouped([2, 9, 16], [2, 9, 8], 2), attributes: { heads: 4, keyHeads: 2, causal: true } },
    // All keys masked.
    { inputs: sameWidth([1, 3, 8], 9, 1), attributes: { heads: 1, keyHeads: 1 } },
  ],
});

/** Inputs of a case: q, and k and v of as many tokens as told; a mask of values below `mask` if there is to be one. */
function sameWidth(q: Shape, keys: number, mask?: number) {
  return grouped(q, [q[0]!, keys, q[2]!], mask);
}

function grouped(q: Shape, k: Shape, mask?: number) {
  return [q, k, k, ...(mask === undefined ? [] : [{ shape: [k[0]!, k[1]!], below: mask }])];
}

/** Attention in float64, over the keys that are visible. */
export function attentionReference(
  [q, k, v]: readonly [ReferenceArray, ReferenceArray, ReferenceArray],
  shared: Heads,
  isVisible: (batch: number, query: number, key: number) => boolean,
): Float64Array {
  const { batch, queries, keys, heads, keyHeads, headWidth } = geometry(q.shape, k.shape, shared);
  const y = new Float64Array(q.data.length);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < queries; i++) {
        const at = ((b * queries + i) * heads + h) * headWidth;
        const keyHead = Math.floor((h * keyHeads) / heads);
        const key = (j: number) => ((b * keys + j) * keyHeads + keyHead) * headWidth;
        const visible = Array.from({ length: keys }, (_, j) => j).filter((j) => isVisible(b, i, j));
        const scores = visible.map((j) => {
          let dot = 0;
          for (let d = 0; d < headWidth; d++) dot += q.data[at + d]! * k.data[key(j) + d]!;
          return dot / Math.sqrt(headWidth);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((a, w) => a + w, 0);
        weights.forEach((weight, n) => {
          const from = key(visible[n]!);
          for (let d = 0; d < headWidth; d++) y[at + d]! += (weight / total) * v.data[from + d]!;
        });
      }
  return y;
}

/**
 * Multi-head attention of `q` [batch, queries, heads * width] over `k`, `v` [batch, keys, keyValueHeads * width], scaled by
 * 1 / sqrt(width), without its score matrix. The width of a head is a multiple of four. A key that is not seen has weight and
 * gradient zero, to the bit as if it were not there, if its values are finite; a query that sees none gets zeros.
 * @returns [batch, queries, heads * width]
 * @throws ShapeError when shapes and heads do not fit
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  heads: number,
  { keyValueHeads = heads, causal = false, offset = 0, mask }: AttentionOptions = {},
): Tensor {
  return applyAttention(mask ? [q, k, v, mask] : [q, k, v], {
    heads,
    keyHeads: keyValueHeads,
    causal,
    offset,
  });
}
