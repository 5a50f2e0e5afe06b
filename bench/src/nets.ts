import { values } from './inputs.ts';

/** The nets whose training steps are timed: blocks of width 256 over 16 x 64 tokens, LoRA of rank 16 on query and value. */
interface NetShape {
  blocks: number;
  batch: number;
  tokens: number;
  width: number;
  heads: number;
  /** Heads of keys and values. */
  keyHeads: number;
  inner: number;
  rank: number;
  /** Factor on the adapter's part. */
  scale: number;
  classes: number;
  epsilon: number;
}

const common = { blocks: 4, batch: 16, tokens: 64, width: 256, heads: 4, rank: 16, scale: 2 };

/** LayerNorm, attention, GELU; a head of 10 classes on the mean token. */
export const vit: NetShape = { ...common, keyHeads: 4, inner: 1024, classes: 10, epsilon: 1e-6 };
/** RMSNorm, RoPE, causal grouped-query attention, SwiGLU; a head of 512 tokens at every position. */
export const llama: NetShape = { ...common, keyHeads: 2, inner: 688, classes: 512, epsilon: 1e-5 };

export type NetName = 'vit' | 'llama';
export const nets: Record<NetName, NetShape> = { vit, llama };

/** One weight. Matrices are [out, in], as in checkpoints. */
export interface Weight {
  name: string;
  shape: readonly number[];
  trained: boolean;
  values: Float32Array<ArrayBuffer>;
}

export function weightsOf(net: NetName): Weight[] {
  const { blocks, width, heads, keyHeads, inner, rank, classes } = nets[net];
  const weights: Weight[] = [];
  const add = (name: string, shape: readonly number[], bound: number, shift = 0, trained = false): void => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const drawn = values(weights.length + 2, size).map((value) => shift + bound * value);
    weights.push({ name, shape, trained, values: drawn });
  };
  const matrix = (name: string, out: number, from: number, trained = false): void =>
    add(name, [out, from], Math.sqrt(3 / from), 0, trained);
  const dense = (name: string, out: number, from: number): void => {
    matrix(`${name}.weight`, out, from);
    if (net === 'vit') add(`${name}.bias`, [out], 0.1);
  };
  const adapted = (name: string, out: number): void => {
    dense(name, out, width);
    matrix(`${name}.down`, rank, width, true);
    add(`${name}.up`, [out, rank], 0.05, 0, true);
  };
  const norm = (name: string): void => {
    add(`${name}.weight`, [width], 0.1, 1);
    if (net === 'vit') add(`${name}.bias`, [width], 0.1);
  };
  for (let block = 0; block < blocks; block++) {
    norm(`${block}.norm1`);
    adapted(`${block}.query`, width);
    dense(`${block}.key`, (width / heads) * keyHeads, width);
    adapted(`${block}.value`, (width / heads) * keyHeads);
    dense(`${block}.output`, width, width);
    norm(`${block}.norm2`);
    if (net === 'llama') dense(`${block}.gate`, inner, width);
    dense(`${block}.up`, inner, width);
    dense(`${block}.down`, width, inner);
  }
  norm('norm');
  dense('head', classes, width);
  return weights;
}

/** A batch: what enters the first block [batch, tokens, width], and the class of each record or token. */
export function batchOf(net: NetName): { x: Float32Array<ArrayBuffer>; labels: Uint32Array<ArrayBuffer> } {
  const { batch, tokens, width, classes } = nets[net];
  const count = net === 'vit' ? batch : batch * tokens;
  const labels = Uint32Array.from(values(1, count), (value) => Math.floor(((value + 1) / 2) * classes));
  return { x: values(0, batch * tokens * width), labels };
}

/** Cosines and sines of RoPE (Su et al. 2021), [tokens, width of a head]; the second half of a row repeats the first. */
export function rotations(): { cos: Float32Array<ArrayBuffer>; sin: Float32Array<ArrayBuffer> } {
  const { tokens, width, heads } = llama;
  const half = width / heads / 2;
  const angles = Array.from({ length: tokens * 2 * half }, (_, i) => {
    const token = Math.floor(i / (2 * half));
    return token * 10_000 ** (-(i % half) / half);
  });
  return { cos: Float32Array.from(angles, Math.cos), sin: Float32Array.from(angles, Math.sin) };
}
