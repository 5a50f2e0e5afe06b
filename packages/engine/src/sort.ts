import { gridOf } from './operation.ts';
import { empty, type Tensor } from './tensor.ts';

const DIGIT_BITS = 8;
/** Positions one invocation walks in a pass. */
const BLOCK = 256;

/**
 * The positions of `keys` (u32) in the order of their keys, equal ones as they lie: a radix sort by digits of eight bits, in
 * passes whose number and order depend on `largest` and the number of keys alone. Larger keys count as `largest`.
 */
export function sortedPositions(keys: Tensor, largest: number): Tensor {
  const { device, size } = keys;
  const blocks = Math.ceil(size / BLOCK);
  const params = Uint32Array.of(size, BLOCK, largest, 0);
  const workgroups = gridOf(blocks, 8);
  const counts = empty(device, [blocks, 2 ** DIGIT_BITS], 'u32');
  let order = keys;
  for (let shift = 0; shift === 0 || (shift < 32 && largest >>> shift > 0); shift += DIGIT_BITS) {
    const values = { SHIFT: shift, FIRST: shift === 0 };
    const next = empty(device, [size], 'u32');
    device.dispatch('sort/count', {
      values,
      bindings: [keys.storage, order.storage, counts.storage],
      params,
      writes: [2],
      workgroups,
    });
    device.dispatch('sort/offsets', {
      bindings: [counts.storage],
      params: Uint32Array.of(blocks, 0, 0, 0),
      writes: [0],
      workgroups: [1, 1, 1],
    });
    device.dispatch('sort/scatter', {
      values,
      bindings: [keys.storage, order.storage, counts.storage, next.storage],
      params,
      writes: [3],
      workgroups,
    });
    order = next;
  }
  return order;
}
