import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import { scope } from '../scope.ts';
import { sortedPositions } from '../sort.ts';
import { empty, type Shape, sizeOf, type Tensor, zeros } from '../tensor.ts';
import { copyBlock } from './layout.ts';

/** How the kernels walk rows of a table: by fours where a row is a whole number of them. */
function layoutOf(table: Shape, count: number) {
  const width = sizeOf(table.slice(1));
  const step = width % 4 === 0 ? 4 : 1;
  return {
    values: { Element: step === 4 ? 'vec4f' : 'f32' },
    params: Uint32Array.of(count, width / step, table[0]!, 0),
    workgroups: gridOf((count * width) / step),
  };
}

/** A copy of some elements, wherever they lie. */
function stretch(x: Tensor, first: number, count: number): Tensor {
  const part = empty(x.device, [count], x.dtype);
  copyBlock(x, { offset: first, strides: [1] }, part, { offset: 0, strides: [1] }, [count]);
  return part;
}

const applyEmbedding = operation<void>({
  name: 'embedding',
  summary: 'rows of a table by index; gradients of a row are summed in the order of the indices',
  dtypes: [NUMBERS, 'u32'],
  shape: ([table, index]) => {
    if (table!.length < 2)
      throw new ShapeError(`embedding: table [${table}], looked up by index [${index}], has no axis 1`);
    return [...index!, ...table!.slice(1)];
  },
  forward: ({ inputs: [table, index], output }) => {
    output.device.dispatch('embedding/lookup', {
      ...layoutOf(table!.shape, index!.size),
      bindings: [table!.storage, index!.storage, output.storage],
      writes: [2],
    });
  },
  gradient: ({ inputs: [table, index], gradient }) => {
    const { device, shape } = table!;
    const dTable = zeros(device, shape);
    const places = index!.size;
    const width = sizeOf(shape.slice(1));
    // What is over the binding limit goes in one stretch of places after the other; sums go on from what the table holds.
    const most = Math.max(1, Math.floor(device.bindingLimit / 4 / width));
    for (let first = 0; first < places; first += most) {
      const count = Math.min(most, places - first);
      scope(() => {
        const part = count < places ? stretch(index!, first, count) : index!;
        const dy = count < places ? stretch(gradient, first * width, count * width) : gradient;
        const order = sortedPositions(part, shape[0]! - 1);
        device.dispatch('embedding/backward', {
          ...layoutOf(shape, count),
          bindings: [part, order, dy, dTable].map((each) => each.storage),
          writes: [3],
        });
      });
    }
    return [dTable, null];
  },
  reference: ([table, index]) => {
    const width = sizeOf(table!.shape.slice(1));
    const result = new Float64Array(index!.data.length * width);
    index!.data.forEach((row, i) => {
      result.set(table!.data.subarray(row * width, (row + 1) * width), i * width);
    });
    return result;
  },
  cases: [
    { inputs: [[5, 2, 4], { shape: [7], below: 5 }], attributes: undefined },
    { inputs: [[3, 5], { shape: [2, 9], below: 3 }], attributes: undefined },
    { inputs: [[1, 1], { shape: [3], below: 1 }], attributes: undefined },
    { inputs: [[300, 3], { shape: [600], below: 300 }], attributes: undefined },
  ],
});

/**
 * The rows `table[index[i]]`; an index past the end reads the last row. The gradient of a row is the sum over the places that
 * read it, in their order: the same bits every time.
 * @param table [rows, ...] @param index u32, any shape @returns [...index, ...row]
 */
export function embedding(table: Tensor, index: Tensor): Tensor {
  return applyEmbedding([table, index], undefined);
}
