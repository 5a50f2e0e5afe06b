import { EngineError } from './errors.ts';
import { MOST_AT_ONCE, partialsOf } from './matmul-variants.ts';
import { copyBlock, stridesOf } from './operations/layout.ts';
import { launchUnpack } from './operations/quantised.ts';
import { launchProduct, type ProductEpilogue, type ProductShape, problemOf } from './product.ts';
import { scope } from './scope.ts';
import { empty, type Tensor } from './tensor.ts';
import { hasTextureForm } from './texture-form.ts';

/** A block of a batch of matrices: from where on, and how many, in each axis. */
interface Block {
  first: readonly [batch: number, row: number, column: number];
  extents: readonly [batch: number, rows: number, columns: number];
}

/**
 * A product of which an operand or the result is over the binding limit, or that is too many workgroups: by blocks of the batch, of rows of op(A) and of
 * columns of op(B), each copied to a tensor of its own. k is never cut, so every element is the chain of multiply-adds that it
 * is in one piece. Copying is little beside multiplying. A frozen weight that is over the limit as it is packed is unpacked block by
 * block.
 * @throws EngineError when a single row of op(A) or column of op(B) is over the limit
 */
export function launchProductInParts(
  shape: ProductShape,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  alpha: number,
  epilogue: ProductEpilogue,
): void {
  const { accumulate = false, bias, residual, activation } = epilogue;
  const { batch, m, n, k, transposeA, transposeB } = shape;
  const most = c.device.bindingLimit / 4;
  const isPacked = isTakenPacked(shape, b);
  const partials = partialsOf(c.device.adapterClass, problemOf(shape, c.device, epilogue));
  // Columns first: a weight that fits is not cut at all. Kernels write four columns at a time.
  const isWide = n > MOST_AT_ONCE.n || n * Math.max(k, partials) > most;
  const widest = Math.min(most / Math.max(k, partials), n, MOST_AT_ONCE.n);
  const columns = isPacked || !isWide ? n : Math.floor(widest / 4) * 4;
  const rows = Math.min(m, Math.floor(most / Math.max(k, columns * partials)), MOST_AT_ONCE.m);
  const whole = rows === m && columns === n;
  const largest = Math.max(m * k, k * n, m * n * partials);
  const atOnce = Math.min(batch, MOST_AT_ONCE.batch, Math.floor(most / largest));
  const together = whole ? atOnce : 1;
  if (columns === 0 || rows === 0)
    throw new EngineError(
      `matmul: rows of ${k} elements of [${a.shape}] and [${b.shape}] are over this adapter's binding limit of ${4 * most} bytes`,
    );
  for (let s = 0; s < batch; s += together) {
    const count = Math.min(together, batch - s);
    for (let j = 0; j < n; j += columns) {
      const width = Math.min(columns, n - j);
      scope(() => {
        const partB = isPacked
          ? b
          : take(b, [batch, k, n], transposeB, { first: [s, 0, j], extents: [count, k, width] });
        const partBias = bias && take(bias, [1, 1, n], false, { first: [0, 0, j], extents: [1, 1, width] });
        for (let i = 0; i < m; i += rows) {
          const height = Math.min(rows, m - i);
          const block: Block = { first: [s, i, j], extents: [count, height, width] };
          scope(() => {
            const partA = take(a, [batch, m, k], transposeA, {
              first: [s, i, 0],
              extents: [count, height, k],
            });
            const partC = accumulate
              ? take(c, [batch, m, n], false, block)
              : empty(c.device, [count, height, width]);
            const part = { ...shape, batch: count, m: height, n: width };
            const before = activation && empty(c.device, [count, height, width]);
            launchProduct(part, partA, partB, partC, alpha, {
              accumulate,
              bias: partBias,
              residual: residual && take(residual, [batch, m, n], false, block),
              activation: activation && before && { kind: activation.kind, before },
            });
            put(partC, c, [batch, m, n], block);
            if (activation && before) put(before, activation.before, [batch, m, n], block);
          });
        }
      });
    }
  }
}

/** Whether every part gets B whole, as it is packed: one matrix, which fits, and on software adapters its texture form does. */
function isTakenPacked({ batch, n }: ProductShape, b: Tensor): boolean {
  const { device } = b;
  const [rows, columns] = b.shape.slice(-2) as [number, number];
  const hasForm = device.adapterClass !== 'software' || hasTextureForm(rows, columns);
  const fits = b.storage.bytes <= device.bindingLimit && n <= MOST_AT_ONCE.n && hasForm;
  return b.dtype !== 'f32' && batch === 1 && fits;
}

/** A block of op(x), copied as x stores it: transposed, rows and columns change places. */
function take(x: Tensor, shape: readonly number[], transposed: boolean, { first, extents }: Block): Tensor {
  const stored = <T>([batch, row, column]: readonly T[]): T[] =>
    transposed ? [batch!, column!, row!] : [batch!, row!, column!];
  const part = empty(x.device, stored(extents));
  if (x.dtype !== 'f32') {
    unpackInto(part, x, stored(shape), stored(first));
    return part;
  }
  const strides = stridesOf(stored(shape));
  const offset = stored(first).reduce((sum, at, axis) => sum + at * strides[axis]!, 0);
  copyBlock(x, { offset, strides }, part, { offset: 0, strides: stridesOf(part.shape) }, part.shape);
  return part;
}

/** Unpacks whole rows of a frozen weight, as many as the limit allows at once, and copies what a block of it needs of them. */
function unpackInto(part: Tensor, x: Tensor, shape: readonly number[], first: readonly number[]): void {
  const { device } = x;
  const [batch, rows, width] = part.shape as [number, number, number];
  const columns = shape[2]!;
  const most = Math.floor(device.bindingLimit / 4 / columns);
  for (let s = 0; s < batch; s++)
    for (let row = 0; row < rows; row += most)
      scope(() => {
        const height = Math.min(most, rows - row);
        const whole = empty(device, [height, columns]);
        launchUnpack(x, ((first[0]! + s) * shape[1]! + first[1]! + row) * columns, whole);
        const from = { offset: first[2]!, strides: [columns, 1] };
        const to = { offset: (s * rows + row) * width, strides: [width, 1] };
        copyBlock(whole, from, part, to, [height, width]);
      });
}

function put(part: Tensor, x: Tensor, shape: readonly number[], { first, extents }: Block): void {
  const strides = stridesOf(shape);
  const offset = first.reduce((sum, at, axis) => sum + at * strides[axis]!, 0);
  copyBlock(part, { offset: 0, strides: stridesOf(extents) }, x, { offset, strides }, extents);
}
