import { NUMBERS } from '../data-type.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { checkInputs, gridOf, operation, type ReferenceArray } from '../operation.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { attend, attentionReference, checkAttention, type Heads } from './attention.ts';

/** @throws ShapeError unless what names the rows of a cache is one of its rows for each row of a batch */
function checkRows(name: string, rows: Shape, batch: number): void {
  if (rows.join() !== `${batch}`) throw new ShapeError(`${name}: rows [${rows}] are not [batch] of ${batch}`);
}

/**
 * Writes the keys or values of new tokens into a cache, in place: row b of `x` goes to start[b], start[b] + 1, ... of the
 * cache's row b, or rows[b]. What would lie past the capacity is dropped. A captured step may be replayed with another `start` and
 * other `rows`. Stops gradients.
 * @param cache [batch, capacity, width]; with `rows` as many rows as there may be texts @param x [batch, tokens, width]
 * @param start u32 [batch] @param rows u32 [batch], no two alike, each less than there are in the cache
 * @throws ShapeError when they do not fit, or the width is no multiple of four; EngineError when they are on different devices,
 *   the cache is constant, or x is part of it
 */
export function cacheWrite(cache: Tensor, x: Tensor, start: Tensor, rows?: Tensor): void {
  checkInputs('cacheWrite', [cache, x, start, ...(rows ? [rows] : [])], [NUMBERS, NUMBERS, 'u32', 'u32']);
  const [cacheRows, capacity, width] = cache.shape as [number, number, number];
  if (cache.shape.length !== 3 || width % 4 !== 0)
    throw new ShapeError(
      `cacheWrite: cache [${cache.shape}] must be [batch, capacity, width], a multiple of four wide`,
    );
  if (cache.storage.constant) throw new EngineError(`cacheWrite: cache [${cache.shape}] is constant`);
  if (x.storage === cache.storage)
    throw new EngineError(`cacheWrite: x [${x.shape}] is in the memory of cache [${cache.shape}]`);
  const batch = rows ? x.shape[0]! : cacheRows;
  const axis = x.shape.findIndex((extent, i) => i !== 1 && extent !== (i === 0 ? batch : cache.shape[i]));
  if (x.shape.length !== 3 || axis >= 0)
    throw new ShapeError(
      `cacheWrite: x [${x.shape}] and cache [${cache.shape}] differ in ${axis >= 0 ? `axis ${axis}` : 'rank'}`,
    );
  if (start.shape.join() !== `${batch}`)
    throw new ShapeError(
      `cacheWrite: start [${start.shape}] is not [batch] of ${rows ? `x [${x.shape}]` : `cache [${cache.shape}]`}`,
    );
  if (rows) checkRows('cacheWrite', rows.shape, batch);
  cache.device.dispatch('attention/cache_write', {
    bindings: [cache.storage, x.storage, start.storage, (rows ?? start).storage],
    params: Uint32Array.of(x.size / 4, x.shape[1]!, capacity, width / 4, 0, 0, rows ? 1 : 0),
    writes: [0],
    workgroups: gridOf(x.size / 4),
  });
}

const applyCachedAttention = operation<Heads>({
  name: 'cachedAttention',
  summary:
    'attention of new tokens over a cache: query i of batch row b sees the keys up to start[b] + i of row b, or rows[b]',
  dtypes: [NUMBERS, NUMBERS, NUMBERS, 'u32', 'u32'],
  shape: ([q, keys, values, start, rows], heads) => {
    // Of a cache with rows to choose from the batch row's own take part, whatever their number.
    if (rows && keys!.join() !== values!.join())
      throw new ShapeError(
        `cachedAttention: k [${keys}] and v [${values}] differ; every axis must be the same`,
      );
    const cached = [keys!, values!].map((shape) => (rows ? [q![0]!, ...shape.slice(1)] : shape));
    checkAttention('cachedAttention', [q!, ...cached], heads);
    if (start!.join() !== `${q![0]}`)
      throw new ShapeError(`cachedAttention: start [${start}] is not [batch] of q [${q}]`);
    if (rows) checkRows('cachedAttention', rows, q![0]!);
    return q!;
  },
  forward: ({ inputs: [q, keys, values, start, rows], attributes, output }) => {
    attend([q!, keys!, values!], output, attributes, { causal: true }, { start: start!, rows });
  },
  reference: ([q, keys, values, start, rows], heads) => {
    const taken = (cache: ReferenceArray): ReferenceArray => {
      if (!rows) return cache;
      const size = cache.shape[1]! * cache.shape[2]!;
      const data = [...rows.data].flatMap((row) => [...cache.data.slice(row * size, (row + 1) * size)]);
      return { data: Float64Array.from(data), shape: [rows.data.length, ...cache.shape.slice(1)] };
    };
    return attentionReference(
      [q!, taken(keys!), taken(values!)],
      heads,
      (batch, i, j) => j <= start!.data[batch]! + i,
    );
  },
  cases: [
    {
      inputs: [[3, 1, 16], [3, 20, 16], [3, 20, 16], { shape: [3], below: 20 }],
      attributes: { heads: 2, keyHeads: 2 },
    },
    {
      inputs: [[2, 11, 32], [2, 17, 8], [2, 17, 8], { shape: [2], below: 7 }],
      attributes: { heads: 4, keyHeads: 1 },
    },
    {
      inputs: [[2, 1, 16], [3, 20, 16], [3, 20, 16], { shape: [2], below: 20 }, { shape: [2], below: 3 }],
      attributes: { heads: 2, keyHeads: 2 },
    },
  ],
});

/**
 * Attention of new tokens over cached keys and values, their own included: query i of batch row b sees the keys up to
 * start[b] + i. A captured step may be replayed with another `start` and other rows. The bits of a token are those that causal
 * `attention` over the whole sequence gives it; what lies past the tokens written is never read. Stops gradients.
 * @param q [batch, tokens, heads * width] @param keys, values [batch, capacity, keyValueHeads * width], after `cacheWrite`
 * @param rows u32 [batch], which of more rows of keys and values those of each batch row are. Default: row b of as many
 * @param start u32 [batch], how many tokens came before these @returns the shape of `q`
 * @throws ShapeError when shapes and heads do not fit
 */
export function cachedAttention(
  q: Tensor,
  cache: { keys: Tensor; values: Tensor; rows?: Tensor | undefined },
  start: Tensor,
  heads: number,
  keyValueHeads: number = heads,
): Tensor {
  const { keys, values, rows } = cache;
  const inputs = [q, keys, values, start, ...(rows ? [rows] : [])];
  return applyCachedAttention(inputs, { heads, keyHeads: keyValueHeads });
}
