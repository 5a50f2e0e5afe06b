import type { Placement } from '../matmul-problem.ts';
import { gridOf } from '../operation.ts';
import { launchPlacedProduct } from '../product.ts';
import { scope } from '../scope.ts';
import { empty, type Tensor } from '../tensor.ts';
import type { Geometry, Sight } from './attention.ts';

/** Queries whose scores are computed again at once: sums over queries are cut here, so it may depend on no shape. */
const QUERIES_AT_ONCE = 128;
/** Elements of a block of scores; there are two at a time. It only decides how many matrices a launch computes. */
const BLOCK = 2 ** 20;

/** Query i sees the keys up to i + this: with as many as there are, all. Not more, for the sum must fit 32 bits. */
export function reachOf({ causal = false, offset = 0 }: Sight, keys: number): number {
  return causal ? Math.min(offset, keys) : keys;
}

/** What the gradient of attention is computed from; `rows` [batch, heads, queries, 2] holds log sum exp(scores). */
export interface AttentionTape {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  y: Tensor;
  dy: Tensor;
  rows: Tensor;
}

type Gradients = [dq: Tensor | null, dk: Tensor | null, dv: Tensor | null];

/**
 * The gradient of attention as products of matrices, the fastest kernels of `software` adapters, over bounded blocks of scores:
 *   s = q k^T, p = exp(scale s - log_sum), ds = p * (dy v^T - dot(dy, y)), dq = scale ds k, dk = scale ds^T q, dv = p^T dy
 * (Dao et al. 2022, FlashAttention, algorithm 4). Every element is a chain over its own head and batch row.
 * @param wanted which of the gradients of q, k and v to compute
 */
export function launchAttentionGradient(
  tape: AttentionTape,
  g: Geometry,
  sight: Sight,
  wanted: readonly boolean[],
): Gradients {
  const { device } = tape.q;
  const gradients = [tape.q, tape.k, tape.v].map(({ shape }, i) =>
    wanted[i] ? empty(device, shape) : null,
  ) as Gradients;
  const { batch, queries, keys, heads, keyHeads, headWidth } = g;
  const count = batch * queries * heads;
  device.dispatch('attention/row_products', {
    values: { head_width4: headWidth / 4 },
    unroll: true,
    bindings: [tape.y.storage, tape.dy.storage, tape.rows.storage],
    params: Uint32Array.of(count, queries, heads),
    writes: [2],
    workgroups: gridOf(count),
  });
  const block = Math.min(BLOCK, device.bindingLimit / 4);
  const most = Math.max(1, Math.floor(block / (QUERIES_AT_ONCE * 4 * Math.ceil(keys / 4))));
  const headsAtOnce = Math.min(keyHeads, most);
  const batchAtOnce = Math.min(batch, Math.max(1, Math.floor(most / keyHeads)));
  for (let query = 0; query < queries; query += QUERIES_AT_ONCE)
    for (let batchRow = 0; batchRow < batch; batchRow += batchAtOnce)
      for (let keyHead = 0; keyHead < keyHeads; keyHead += headsAtOnce)
        for (let member = 0; member < heads / keyHeads; member++) {
          const part: Block = {
            query,
            height: Math.min(QUERIES_AT_ONCE, queries - query),
            batchRow,
            batchRows: Math.min(batchAtOnce, batch - batchRow),
            keyHead,
            matrices: Math.min(headsAtOnce, keyHeads - keyHead),
            member,
          };
          scope(() => launchBlock(tape, g, sight, gradients, part));
        }
  return gradients;
}

/** Queries of some heads of some batch rows: of the heads that share those of keys, the one numbered `member`. */
interface Block {
  query: number;
  height: number;
  batchRow: number;
  batchRows: number;
  keyHead: number;
  /** Of a batch row: heads of keys. */
  matrices: number;
  member: number;
}

function launchBlock(
  { q, k, v, dy, rows }: AttentionTape,
  { queries, keys, heads, keyHeads, headWidth }: Geometry,
  sight: Sight,
  [dq, dk, dv]: Gradients,
  { query, height, batchRow, batchRows, keyHead, matrices, member }: Block,
): void {
  const { device } = q;
  const padded = 4 * Math.ceil(keys / 4);
  const batch = batchRows * matrices;
  const members = heads / keyHeads;
  const firstHead = keyHead * members + member;
  const place = (tokens: number, first: number, count: number, head: number, step: number): Placement => ({
    start: ((batchRow * tokens + first) * count + head) * headWidth,
    row: count * headWidth,
    head: step * headWidth,
    batch: tokens * count * headWidth,
  });
  const perQuery = place(queries, query, heads, firstHead, members);
  const perKey = place(keys, 0, keyHeads, keyHead, 1);
  const perScore: Placement = {
    start: 0,
    row: padded,
    head: height * padded,
    batch: matrices * height * padded,
  };
  const scale = 1 / Math.sqrt(headWidth);
  const weights = empty(device, [batch, height, padded]);
  const slopes = empty(device, [batch, height, padded]);

  // The columns past the keys come out as anything, and are set to zero next.
  const scores = { batch, m: height, n: padded, k: headWidth, transposeA: false, transposeB: true };
  const onScores = { heads: matrices, a: perQuery, b: perKey, c: perScore };
  launchPlacedProduct(scores, onScores, [q, k, weights], { alpha: scale });
  launchPlacedProduct(scores, onScores, [dy, v, slopes]);
  device.dispatch('attention/score_gradient', {
    values: { MASKED: sight.mask !== undefined },
    bindings: [rows.storage, (sight.mask ?? rows).storage, weights.storage, slopes.storage],
    params: Uint32Array.of(keys, queries, heads, reachOf(sight, keys), query, firstHead, members, batchRow),
    writes: [2, 3],
    workgroups: [height, matrices, batchRows],
  });

  if (dq) {
    const shape = { batch, m: height, n: headWidth, k: keys, transposeA: false, transposeB: false };
    const places = { heads: matrices, a: perScore, b: perKey, c: perQuery };
    launchPlacedProduct(shape, places, [slopes, k, dq], { alpha: scale });
  }
  const perKeys = { batch, m: keys, n: headWidth, k: height, transposeA: true, transposeB: false };
  const onKeys = { heads: matrices, a: perScore, b: perQuery, c: perKey };
  const accumulate = query > 0 || member > 0;
  if (dk) launchPlacedProduct(perKeys, onKeys, [slopes, q, dk], { alpha: scale, accumulate });
  if (dv) launchPlacedProduct(perKeys, onKeys, [weights, dy, dv], { accumulate });
}
