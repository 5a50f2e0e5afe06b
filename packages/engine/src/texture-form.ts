import { EngineError } from './errors.ts';

/** Texels in a row of a texture form: FORM_BITS of the kernels. */
const FORM_WIDTH = 1024;
/** The tallest texture of lavapipe: 256 MiB, twice the largest storage binding. */
const FORM_HEIGHT = 16_384;
const TEXEL_BYTES = 16;

/** One `copyBufferToTexture`: `bytesPerRow` is always `FORM_WIDTH` texels. */
export interface FormCopy {
  /** Byte offset in the buffer. */
  offset: number;
  /** Row of the texture where the copy starts. */
  y: number;
  width: number;
  height: number;
}

/** The texture form of a tensor that kernels with texture operands read. */
export interface FormLayout {
  /** Size of the rgba32float texture. */
  width: number;
  height: number;
  bytesPerRow: number;
  /** How to fill it: copies of the buffer's bytes (at most two; 20-40 GB/s on lavapipe) ... */
  copies: FormCopy[];
  /** ... or, when rows do not fill whole texels, this kernel: bind the tensor, the texture and `params` as 0, 1 and 2. */
  pad: {
    kernel: 'matmul/pad';
    workgroups: [number, number, number];
    params: Uint32Array<ArrayBuffer>;
  } | null;
}

/** Whether such a tensor has one: it would not be taller than a texture may be. */
export function hasTextureForm(rows: number, columns: number): boolean {
  return rows * Math.ceil(columns / 4) <= FORM_WIDTH * FORM_HEIGHT;
}

/**
 * The layout of the texture form of a tensor of `rows` rows (batches included) and `columns` columns.
 * @throws EngineError when it would be taller than a texture may be.
 */
export function textureForm(rows: number, columns: number): FormLayout {
  const texels = rows * Math.ceil(columns / 4);
  const height = Math.ceil(texels / FORM_WIDTH);
  if (!hasTextureForm(rows, columns))
    throw new EngineError(
      `matmul: [${rows}, ${columns}] has no texture form: its padded rows take more than 256 MiB`,
    );
  const bytesPerRow = FORM_WIDTH * TEXEL_BYTES;
  const layout = { width: FORM_WIDTH, height, bytesPerRow };
  if (columns % 4 !== 0) {
    const workgroups: [number, number, number] = [Math.ceil(Math.min(texels, FORM_WIDTH) / 64), height, 1];
    return {
      ...layout,
      copies: [],
      pad: { kernel: 'matmul/pad', workgroups, params: new Uint32Array([rows, columns]) },
    };
  }
  const whole = Math.floor(texels / FORM_WIDTH);
  const rest = texels % FORM_WIDTH;
  const copies: FormCopy[] = [];
  if (whole > 0) copies.push({ offset: 0, y: 0, width: FORM_WIDTH, height: whole });
  if (rest > 0) copies.push({ offset: whole * bytesPerRow, y: whole, width: rest, height: 1 });
  return { ...layout, copies, pad: null };
}
