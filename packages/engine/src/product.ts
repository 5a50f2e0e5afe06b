import { type Packing, packingOf } from './data-type.ts';
import type { Device } from './device.ts';
import { narrow, widenedCopy } from './half-storage.ts';
import type { Activation, Bound, MatmulProblem, OperandForm, Placements } from './matmul-problem.ts';
import { choosePlacedMatmul } from './matmul-software.ts';
import { chooseMatmul, MOST_AT_ONCE, partialsOf } from './matmul-variants.ts';
import { permute } from './operations/layout.ts';
import { launchProductInParts } from './product-parts.ts';
import type { Storage, TextureForm } from './storage.ts';
import { empty, type Tensor } from './tensor.ts';
import { type FormLayout, hasTextureForm, textureForm } from './texture-form.ts';

/** The extents of C [batch, m, n] = op(A) [batch, m, k] op(B) [batch, k, n]. */
export interface ProductShape {
  batch: number;
  m: number;
  n: number;
  k: number;
  transposeA: boolean;
  transposeB: boolean;
}

export interface ProductEpilogue {
  /** Add to what C holds. */
  accumulate?: boolean;
  /** Add this to every row, [n]. */
  bias?: Tensor;
  /** Add this, like C. Not together with an activation. */
  residual?: Tensor;
  /** Apply `kind`; `before` takes what C would be without it. */
  activation?: { kind: Activation; before: Tensor };
  /** Add a low-rank change to a batch of one product. */
  lowRank?: LowRankChange;
}

/** scale * hidden up^T: of m rows, each of the adapters takes as many as the others, one after the other. */
export interface LowRankChange {
  /** [m, rank] */
  hidden: Tensor;
  /** [n, rank], or [adapters, n, rank]. */
  up: Tensor;
  adapters: number;
  scale: number;
}

/**
 * Launches the kernels that write C = alpha * op(A) op(B), by the table for this adapter class. B may be a frozen weight, whose
 * product has the bits of one with its values in f32.
 */
export function launchProduct(
  shape: ProductShape,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  alpha = 1,
  epilogue: ProductEpilogue = {},
): void {
  const { device } = c;
  const { bias, residual, activation, lowRank } = epilogue;
  // What is stored as f16 must fit as f32 too: some kernels want copies.
  const isOver = ({ storage }: Tensor) => Math.max(storage.bytes, 4 * storage.halves) > device.bindingLimit;
  const bound = [a, c, ...(lowRank ? [lowRank.hidden, lowRank.up] : [])];
  const { m, n, batch } = MOST_AT_ONCE;
  const isMany = shape.m > m || shape.n > n || shape.batch > batch;
  const inParts = () => {
    if (lowRank) launchLowRankAfter(shape, a, b, c, alpha, { bias, lowRank });
    else launchProductInParts(shape, a, b, c, alpha, epilogue);
  };
  const problem = problemOf(shape, device, epilogue);
  const partials = partialsOf(device.adapterClass, problem);
  const isDeep = partials > 1 && 4 * partials * c.size > device.bindingLimit;
  if (isMany || isDeep || bound.some(isOver) || b.storage.bytes > device.bindingLimit) {
    inParts();
    return;
  }
  if (shape.transposeA && shape.transposeB) {
    const plain = permute(a, a.shape.length === 3 ? [0, 2, 1] : [1, 0]);
    launchProduct({ ...shape, transposeA: false }, plain, b, c, alpha, epilogue);
    return;
  }
  const [rowsA, columnsA] = shape.transposeA ? [shape.k, shape.m] : [shape.m, shape.k];
  const [rowsB, columnsB] = shape.transposeB ? [shape.n, shape.k] : [shape.k, shape.n];
  const packingB = packingOf(b.dtype, b.shape);
  const plan = chooseMatmul(device.adapterClass, { ...problem, alpha, packingB });
  const { operands } = plan;
  const isUnpacked = operands.b === 'texture' && packingB.bits < 32;
  const fits = !isUnpacked || hasTextureForm(shape.batch * rowsB, columnsB);
  if (!fits || (lowRank && operands.lowRank === null)) {
    inParts();
    return;
  }
  const unpacked = isUnpacked ? unpackedForm(b, shape.batch * rowsB, columnsB) : null;
  try {
    const parts = plan.combine && empty(device, [shape.batch, plan.combine.parts, shape.m, shape.n]);
    const first = operand(operands.a, a.storage, shape.batch * rowsA, columnsA);
    const read = [a, b, bias, lowRank?.hidden, lowRank?.up];
    const isReadTwice = residual && read.some((each) => each?.storage === residual.storage);
    const added = isReadTwice ? copyOf(residual) : residual;
    const second = unpacked ?? operand(operands.b, b.storage, shape.batch * rowsB, columnsB);
    // What the kernel does not use must still be bound, and memory that it could write must be bound nowhere else.
    const bindings: Record<Bound, () => Storage | TextureForm> = {
      a: () => first,
      b: () => second,
      c: () => (parts ?? c).storage,
      bias: () => (bias ?? (a.dtype === 'f32' ? a : empty(device, [1]))).storage,
      extra: () => (added ?? activation?.before ?? empty(device, [1])).storage,
    };
    device.dispatch(plan.kernel, {
      values: plan.constants,
      unroll: plan.unroll,
      bindings: plan.binds.map((name) => bindings[name]()),
      params: plan.params,
      more: lowRank && operands.lowRank ? lowRankOperands(operands.lowRank, lowRank) : [],
      writes: activation ? [2, 4] : [2],
      workgroups: plan.workgroups,
    });
    if (parts && plan.combine) {
      const { kernel, constants, params, workgroups } = plan.combine;
      device.dispatch(kernel, {
        values: constants,
        bindings: [parts.storage, c.storage],
        params,
        writes: [1],
        workgroups,
      });
    }
  } finally {
    // Whoever takes it next is queued behind this product. A captured step plans its textures itself.
    if (unpacked?.texture) device.recycleTexture(unpacked.texture);
  }
}

function copyOf({ device, storage, shape, dtype }: Tensor): Tensor {
  const copy = empty(device, shape, dtype);
  device.run({
    kind: 'copy',
    source: storage,
    sourceOffset: 0,
    target: copy.storage,
    targetOffset: 0,
    bytes: storage.bytes,
  });
  return copy;
}

/** A product as the table of kernels knows it, but for what B is packed as. */
export function problemOf(shape: ProductShape, device: Device, epilogue: ProductEpilogue): MatmulProblem {
  const { accumulate = false, bias, residual, activation, lowRank } = epilogue;
  return {
    ...shape,
    accumulate,
    bias: bias !== undefined,
    residual: residual !== undefined,
    activation: activation?.kind,
    lowRank: lowRank && { rank: lowRank.up.shape.at(-1)!, adapters: lowRank.adapters, scale: lowRank.scale },
    subgroupMatrix: device.subgroupMatrix,
  };
}

function lowRankOperands(form: OperandForm, { hidden, up }: LowRankChange): (Storage | TextureForm)[] {
  const rank = up.shape.at(-1)!;
  return [hidden, up].map(({ storage, size }) => operand(form, storage, size / rank, rank));
}

/** A low-rank change as a product of its own that adds to C: the same bits. */
function launchLowRankAfter(
  shape: ProductShape,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  alpha: number,
  { bias, lowRank }: { bias: Tensor | undefined; lowRank: LowRankChange },
): void {
  const { hidden, up, adapters, scale } = lowRank;
  // Rounded once, like the sum of one kernel.
  const sum = c.dtype === 'f16' ? empty(c.device, c.shape) : c;
  launchProduct(shape, a, b, sum, alpha, { bias });
  const change = { batch: adapters, m: shape.m / adapters, n: shape.n, k: up.shape.at(-1)! };
  const turned = { transposeA: false, transposeB: true };
  launchProduct({ ...change, ...turned }, hidden, up, sum, scale, { accumulate: true });
  if (sum !== c) narrow(sum.storage, c.storage);
}

/**
 * Launches the kernel of `software` adapters for C = alpha * op(A) op(B) (+ C) of matrices that lie within larger ones.
 * @param shape its batch counts the matrices, its n is a multiple of four
 */
export function launchPlacedProduct(
  shape: ProductShape,
  placements: Placements,
  [a, b, c]: readonly [a: Tensor, b: Tensor, c: Tensor],
  { alpha = 1, accumulate = false }: { alpha?: number; accumulate?: boolean } = {},
): void {
  const { device } = c;
  const plan = choosePlacedMatmul({ ...shape, alpha, accumulate }, placements);
  const form = ({ storage, shape: extents, size }: Tensor) =>
    operand('texture', storage, size / extents.at(-1)!, extents.at(-1)!);
  device.dispatch(plan.kernel, {
    values: plan.constants,
    unroll: plan.unroll,
    // Nothing is read from or written to the last two.
    bindings: [form(a), form(b), c.storage, empty(device, [1]).storage, empty(device, [1]).storage],
    params: plan.params,
    writes: [2],
    workgroups: plan.workgroups,
  });
}

/**
 * The texture form of a frozen weight, for one product. Kept, it would take two to eight times the memory of the weight, and
 * whoever packs a weight does it to save memory.
 */
function unpackedForm(b: Tensor, rows: number, columns: number): TextureForm {
  const { device } = b;
  const { width, height } = textureForm(rows, columns);
  const { bits, scales, group } = packingOf(b.dtype, b.shape);
  const form = device.texture(b.storage, width, height, nameOf(rows, columns));
  try {
    unpackInto(form, b.storage, rows, columns, { bits, scales, group });
  } catch (error) {
    if (form.texture) device.recycleTexture(form.texture);
    throw error;
  }
  return form;
}

function unpackInto(
  form: TextureForm,
  storage: Storage,
  rows: number,
  columns: number,
  { bits, scales, group }: Packing,
): void {
  const texels = rows * Math.ceil(columns / 4);
  form.source.device.dispatch('quantised/unpack_texture', {
    values: { BITS: bits, COLUMNS: columns, GROUP: group },
    bindings: [storage, form],
    params: new Uint32Array([rows, scales]),
    writes: [1],
    workgroups: [Math.ceil(Math.min(texels, form.width) / 64), form.height, 1],
  });
}

function operand(form: OperandForm, storage: Storage, rows: number, columns: number): Storage | TextureForm {
  if (form === 'buffer') return storage;
  // The texture form of a constant is made once and kept, so it must not become part of a captured step.
  const { device } = storage;
  return storage.constant
    ? device.outsideCapture(() => textureOf(storage, rows, columns))
    : textureOf(storage, rows, columns);
}

/** What the texture form of an operand of so many rows, all batches', is called where there is no memory for it. */
function nameOf(rows: number, columns: number): string {
  return `the texture form of a product's operand of shape [${rows},${columns}]`;
}

/** The texture form of a storage: the one at hand if nothing was written since, else a fresh copy. */
function textureOf(storage: Storage, rows: number, columns: number): TextureForm {
  const { device } = storage;
  const layout = textureForm(rows, columns);
  const forms = device.formsOf(storage);
  const key = layout.pad ? `${rows}x${columns}` : 'bytes';
  const known = forms.get(key);
  if (known && known.version === storage.version && !known.spoilt) return known;
  if (known?.spoilt && known.texture) device.recycleTexture(known.texture);
  // A form of an older version may still be read by commands queued before: in a captured step it gets a texture of its own.
  const form =
    known && !known.spoilt && !device.isCapturing
      ? known
      : device.texture(storage, layout.width, layout.height, nameOf(rows, columns));
  forms.set(key, form);
  fill(form, storage, layout, rows, columns);
  // Only now: where filling it fails, it must not pass for the tensor.
  form.version = storage.version;
  return form;
}

/** Queues what copies the values of a storage into a texture form. */
function fill(form: TextureForm, storage: Storage, layout: FormLayout, rows: number, columns: number): void {
  const { device } = storage;
  if (storage.halves > 0 && storage.bytes <= device.bindingLimit) {
    // Rows of whole texels lie one after the other: one width serves all, and is compiled once.
    const [height, width] = layout.pad ? [rows, columns] : [(rows * columns) / 4, 4];
    unpackInto(form, storage, height, width, { bits: 16, scales: 0, group: 1 });
    return;
  }
  const full = storage.halves > 0 ? widenedCopy(storage, 'a product') : storage;
  try {
    if (layout.pad) {
      const { kernel, params, workgroups } = layout.pad;
      device.dispatch(kernel, { bindings: [full, form], params, writes: [1], workgroups });
    } else {
      const { bytesPerRow, copies: parts } = layout;
      device.run({ kind: 'copy-to-texture', source: full, form, bytesPerRow, parts });
    }
  } finally {
    if (full !== storage) full.release();
  }
}
