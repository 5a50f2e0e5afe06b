import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import type { Tensor } from '../tensor.ts';
import { attend, attentionReference, checkAttention, type Heads } from './attention.ts';

/**
 * Writes the keys or values of new tokens into a cache, in place: row b of `x` goes to start[b], start[b] + 1, ... What would
 * lie past the capacity is dropped. A captured step may be replayed with another `start`. Stops gradients.
 * @param cache [batch, capacity, width] @param x [batch, tokens, width] @param start u32 [batch]
 * @throws ShapeError when they do not fit, or the width is no multiple of four
 */
export function cacheWrite(cache: Tensor, x: Tensor, start: Tensor): void {
  for (const each of [cache, x, start]) each.assertAlive();
  const [batch, capacity, width] = cache.shape as [number, number, number];
  if (cache.shape.length !== 3 || width % 4 !== 0)
    throw new ShapeError(
      `cacheWrite: cache [${cache.shape}] must be [batch, capacity, width], a multiple of four wide`,
    );
  const axis = x.shape.findIndex((extent, i) => i !== 1 && extent !== cache.shape[i]);
  if (x.shape.length !== 3 || axis >= 0)
    throw new ShapeError(
      `cacheWrite: x [${x.shape}] and cache [${cache.shape}] differ in ${axis >= 0 ? `axis ${axis}` : 'rank'}`,
    );
  if (start.dtype !== 'u32' || start.shape.join() !== `${batch}`)
    throw new ShapeError(
      `cacheWrite: start, ${start.dtype} [${start.shape}], is not u32 [batch] of cache [${cache.shape}]`,
    );
  cache.device.dispatch('attention/cache_write', {
    bindings: [cache.storage, x.storage, start.storage],
    params: Uint32Array.of(x.size / 4, x.shape[1]!, capacity, width / 4, 0, 0),
    writes: [0],
    workgroups: gridOf(x.size / 4),
  });
}

const applyCachedAttention = operation<Heads>({
  name: 'cachedAttention',
  summary: 'attention of new tokens over a cache: query i of batch row b sees its keys up to start[b] + i',
  dtypes: ['f32', 'f32', 'f32', 'u32'],
  shape: ([q, keys, values, start], heads) => {
    checkAttention('cachedAttention', [q!, keys!, values!], heads);
    if (start!.join() !== `${q![0]}`)
      throw new ShapeError(`cachedAttention: start [${start}] is not [batch] of q [${q}]`);
    return q!;
  },
  forward: ({ inputs: [q, keys, values, start], attributes, output }) => {
    attend([q!, keys!, values!], output, attributes, { causal: true }, start);
  },
  reference: ([q, keys, values, start], heads) =>
    attentionReference([q!, keys!, values!], heads, (batch, i, j) => j <= start!.data[batch]! + i),
  cases: [
    {
      inputs: [[3, 1, 16], [3, 20, 16], [3, 20, 16], { shape: [3], below: 20 }],
      attributes: { heads: 2, keyHeads: 2 },
    },
    {
      inputs: [[2, 11, 32], [2, 17, 8], [2, 17, 8], { shape: [2], below: 7 }],
      attributes: { heads: 4, keyHeads: 1 },
    },
  ],
});

/**
 * Attention of new tokens over cached keys and values, their own included: query i of batch row b sees the keys up to
 * start[b] + i. A captured step may be replayed with another `start`. The bits of a token are those that causal `attention`
 * over the whole sequence gives it; what lies past the tokens written is never read. Stops gradients.
 * @param q [batch, tokens, heads * width] @param keys, values [batch, capacity, keyValueHeads * width], after `cacheWrite`
 * @param start u32 [batch], how many tokens came before these @returns the shape of `q`
 * @throws ShapeError when shapes and heads do not fit
 */
export function cachedAttention(
  q: Tensor,
  cache: { keys: Tensor; values: Tensor },
  start: Tensor,
  heads: number,
  keyValueHeads: number = heads,
): Tensor {
  return applyCachedAttention([q, cache.keys, cache.values, start], { heads, keyHeads: keyValueHeads });
}
