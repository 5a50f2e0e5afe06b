import { NUMBERS, WEIGHT_TYPES } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { type Apply, assertSameShape, type OperationCase, operation } from '../operation.ts';
import { launchProduct } from '../product.ts';
import { scope } from '../scope.ts';
import { empty, type Shape, sizeOf, type Tensor } from '../tensor.ts';
import { add } from './arithmetic.ts';
import { embedding } from './embedding.ts';
import { matmul, productReference } from './matmul.ts';
import { dequantise } from './quantised.ts';

/** A low-rank change, or a stack of them along a first axis. `adapted` is what it sees of x: x itself, or x after dropout. */
interface Adapter {
  down: Tensor;
  up: Tensor;
  scale: number;
  adapted?: Tensor;
}

/** How many adapters, the rows of x for each, and the other extents. */
interface LoraShape {
  groups: number;
  rows: number;
  n: number;
  k: number;
  rank: number;
}

function loraShape(x: Shape, weight: Shape, down: Shape, grouped: boolean): LoraShape {
  const [n, k] = weight as readonly [number, number];
  const groups = grouped ? down[0]! : 1;
  return { groups, rows: sizeOf(x) / k / groups, n, k, rank: down.at(-2)! };
}

/**
 * loraLinear and its grouped form, in two launches: what the adapters make of x, a batch with one entry an adapter; then the base
 * product over all rows, whose kernel adds the change. A row of a product has the same bits in any batch, so a group gets what it would
 * get alone.
 */
function define(
  name: string,
  summary: string,
  grouped: boolean,
  cases: readonly OperationCase<{ scale: number }>[],
): Apply<{ scale: number }> {
  return operation<{ scale: number }>({
    name,
    summary,
    dtypes: [NUMBERS, WEIGHT_TYPES, NUMBERS],
    shape: ([x, weight, adapted, down, up, bias]) => {
      if (weight!.length !== 2) throw new ShapeError(`${name}: weight [${weight}] must be [n, k]`);
      const [n, k] = weight as readonly [number, number];
      if (x!.at(-1) !== k)
        throw new ShapeError(`${name}: the last axis of x [${x}] is not axis 1 of weight [${weight}]`);
      assertSameShape(name, x!, adapted!);
      if (grouped && (x!.length < 2 || down![0] !== x![0] || up![0] !== x![0]))
        throw new ShapeError(
          `${name}: x [${x}], A [${down}] and B [${up}] differ in axis 0, which counts the groups`,
        );
      if (bias && bias.join() !== `${n}`)
        throw new ShapeError(`${name}: bias [${bias}] does not fit axis 0 of weight [${weight}]`);
      const stack = grouped ? [x![0]!] : [];
      const rank = down!.at(-2);
      if (down!.join() !== [...stack, rank, k].join())
        throw new ShapeError(`${name}: the last axis of A [${down}] is not axis 1 of weight [${weight}]`);
      if (up!.join() !== [...stack, n, rank].join())
        throw new ShapeError(
          `${name}: the last two axes of B [${up}] are not axis 0 of weight [${weight}] and the rank of A [${down}]`,
        );
      return [...x!.slice(0, -1), n];
    },
    forward: ({ inputs: [x, weight, adapted, down, up, bias], attributes: { scale }, output }) => {
      const { groups, rows, n, k, rank } = loraShape(x!.shape, weight!.shape, down!.shape, grouped);
      const turned = { transposeA: false, transposeB: true };
      const hidden = empty(x!.device, [groups * rows, rank]);
      launchProduct({ ...turned, batch: groups, m: rows, n: rank, k }, adapted!, down!, hidden);
      launchProduct({ ...turned, batch: 1, m: groups * rows, n, k }, x!, weight!, output, 1, {
        bias,
        lowRank: { hidden, up: up!, adapters: groups, scale },
      });
      return [hidden];
    },
    gradient: ({ inputs, attributes: { scale }, saved: [hidden], gradient, wanted }) => {
      const [x, weight, adapted, down, up] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
      const { groups, rows, n, k, rank } = loraShape(x.shape, weight.shape, down.shape, grouped);
      const make = (when: boolean | undefined, shape: Shape) => (when ? empty(x.device, shape) : null);
      const plain = { transposeA: false, transposeB: false };
      const each = { ...plain, batch: groups, m: rows };
      const turned = { transposeA: true, transposeB: false, batch: groups, k: rows };

      const dHidden = empty(x.device, [groups * rows, rank]);
      launchProduct({ ...each, n: rank, k: n }, gradient, up, dHidden, scale);
      const dx = make(wanted[0], x.shape);
      if (dx) launchProduct({ ...plain, batch: 1, m: groups * rows, n: k, k: n }, gradient, weight, dx);
      // Without dropout both paths start from one tensor: their gradients are summed in the product.
      const shared = dx !== null && adapted === x;
      const dAdapted = make(wanted[2] && !shared, x.shape);
      const through = shared ? dx : dAdapted;
      if (through)
        launchProduct({ ...each, n: k, k: rank }, dHidden, down, through, 1, { accumulate: shared });
      const dDown = make(wanted[3], down.shape);
      if (dDown) launchProduct({ ...turned, m: rank, n: k }, dHidden, adapted, dDown);
      const dUp = make(wanted[4], up.shape);
      if (dUp) launchProduct({ ...turned, m: n, n: rank }, gradient, hidden!, dUp, scale);
      return [dx, null, dAdapted, dDown, dUp, null];
    },
    reference: ([x, weight, adapted, down, up, bias], { scale }) => {
      const { groups, rows, n, k, rank } = loraShape(x!.shape, weight!.shape, down!.shape, grouped);
      const whole = { data: x!.data, shape: [groups * rows, k] };
      const base = productReference(whole, weight!, { transposeB: true });
      const seen = { data: adapted!.data, shape: [groups, rows, k] };
      const stack = (data: Float64Array, shape: Shape) => ({ data, shape: [groups, ...shape] });
      const hidden = productReference(seen, stack(down!.data, [rank, k]), { transposeB: true });
      const change = productReference(stack(hidden, [rows, rank]), stack(up!.data, [n, rank]), {
        transposeB: true,
        alpha: scale,
      });
      return base.map((value, i) => value + (bias?.data[i % n] ?? 0) + change[i]!);
    },
    frozen: [1, 5],
    cases,
  });
}

const applyLoraLinear = define(
  'loraLinear',
  'x weight^T + bias + scale * (adapted down^T) up^T; no gradient for weight and bias',
  false,
  [
    { inputs: [[9, 8], [6, 8], [9, 8], [4, 8], [6, 4], [6]], attributes: { scale: 0.5 } },
    {
      inputs: [
        [9, 8],
        [6, 8],
        [9, 8],
        [4, 8],
        [6, 4],
      ],
      attributes: { scale: 0.5 },
    },
    { inputs: [[2, 17, 32], [36, 32], [2, 17, 32], [16, 32], [36, 16], [36]], attributes: { scale: 4 } },
    {
      inputs: [[9, 8], { shape: [6, 8], dtype: 'int8' }, [9, 8], [4, 8], [6, 4], [6]],
      attributes: { scale: 0.5 },
    },
  ],
);

const applyGrouped = define(
  'groupedLoraLinear',
  'loraLinear with an adapter of its own for each entry of the first axis; the base product is shared',
  true,
  [
    { inputs: [[3, 9, 8], [6, 8], [3, 9, 8], [3, 4, 8], [3, 6, 4], [6]], attributes: { scale: 0.5 } },
    {
      inputs: [
        [3, 9, 8],
        [6, 8],
        [3, 9, 8],
        [3, 4, 8],
        [3, 6, 4],
      ],
      attributes: { scale: 0.5 },
    },
    {
      inputs: [
        [2, 2, 5, 64],
        { shape: [12, 64], dtype: 'int4x64' },
        [2, 2, 5, 64],
        [2, 3, 64],
        [2, 12, 3],
        [12],
      ],
      attributes: { scale: 2 },
    },
  ],
);

/**
 * A linear layer with a low-rank change (LoRA, Hu et al. 2021): x weight^T + bias + scale * (adapted A^T) B^T. The base
 * is frozen: weight (of any weight type) and bias get no gradient.
 * @param x [..., k] @param weight [n, k] @param bias [n], or null for none @param adapter A `down` [rank, k], B `up` [n, rank]
 */
export function loraLinear(x: Tensor, weight: Tensor, bias: Tensor | null, adapter: Adapter): Tensor {
  const { down, up, scale, adapted = x } = adapter;
  return applyLoraLinear([x, weight, adapted, down, up, ...(bias ? [bias] : [])], { scale });
}

/** A pool of adapters. `of`: u32 [groups], which of them each entry of x goes through; without it entry g goes through adapter g. */
interface Adapters extends Adapter {
  of?: Tensor;
}

/**
 * `loraLinear` for several adapters over one base in one batch: each entry of x goes through an adapter of its own, or the one it
 * names. Serves an ensemble, whose shards share the base, the training of several sequences at once, and requests for
 * different adapters. An entry and its gradient have the bits that `loraLinear` gives for it alone; the gradient of an adapter that
 * several entries name is the sum of theirs, in their order.
 * @param x [groups, ..., k] @param weight [n, k] @param bias [n], or null for none
 * @param adapters A `down` [adapters, rank, k], B `up` [adapters, n, rank]; as many as groups, unless `of` says which
 */
export function groupedLoraLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  adapters: Adapters,
): Tensor {
  const { adapted = x, scale } = adapters;
  const { down, up } = adapters.of ? named(x, adapters, adapters.of) : adapters;
  return applyGrouped([x, weight, adapted, down, up, ...(bias ? [bias] : [])], { scale });
}

/** The adapter of each entry of x, copied from the pool: a small fraction of what the entry itself reads. */
function named(x: Tensor, { down, up }: Adapters, of: Tensor): { down: Tensor; up: Tensor } {
  if (of.shape.join() !== `${x.shape[0]}`)
    throw new ShapeError(
      `groupedLoraLinear: of [${of.shape}] does not name one adapter for each entry of x [${x.shape}]`,
    );
  if (down.shape[0] !== up.shape[0])
    throw new ShapeError(
      `groupedLoraLinear: A [${down.shape}] and B [${up.shape}] differ in axis 0, which counts the adapters`,
    );
  return { down: embedding(down, of), up: embedding(up, of) };
}

/**
 * The base weight with a low-rank change merged in, in f32: weight + scale * up down. Stops gradients.
 * @throws ShapeError when they do not fit
 */
export function mergeLora(weight: Tensor, adapter: { down: Tensor; up: Tensor; scale: number }): Tensor {
  const { down, up, scale } = adapter;
  const shape = [up.shape[0], down.shape[1]];
  if (shape.join() !== weight.shape.join())
    throw new ShapeError(
      `mergeLora: B [${up.shape}] times A [${down.shape}] is [${shape}], not weight [${weight.shape}]`,
    );
  return scope(() => {
    const base = weight.dtype === 'f32' ? weight : dequantise(weight);
    const change = matmul(up, down, { alpha: scale });
    const merged = add(base, change).detach();
    // It is all that the adapter has learnt: no other tensor may get it with its memory.
    change.destroy();
    return merged;
  });
}
