import { type Device, linear, type Tensor, tensor, uniformValues } from '@s3t/engine';
import { afterAll } from 'vitest';
import { memorySource } from '../checkpoint/byte-source.ts';
import { openSafetensors } from '../checkpoint/safetensors-store.ts';
import type { TensorStore } from '../checkpoint/tensor-store.ts';
import { type BaseModel, type BaseOptions, placeBaseModel } from '../model.ts';
import { writeSafetensors } from '../safetensors.ts';
import { placeStage, type Stage, type StageForm, startStage } from '../stage.ts';
import { type VitConfig, vitArchitecture, vitParameters } from '../vit.ts';

/** A ViT small enough for float64 loops: 4 layers, 5 tokens of width 16. One shape for all tests: few kernels to compile. */
export const TINY: VitConfig = {
  hidden_size: 16,
  num_hidden_layers: 4,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-6,
  image_size: 8,
  patch_size: 4,
  num_channels: 3,
  qkv_bias: true,
};

/** The values of one activation row: what enters a layer for one record. */
export const ROW: number = 5 * 16;
/** The values of one picture. */
export const PICTURE: number = 3 * 8 * 8;

export const FORM: StageForm = {
  architecture: vitArchitecture(TINY),
  lora: { rank: 4, alpha: 8, rslora: true, dropout: 0, targets: ['query', 'value'] },
  outputs: 3,
};

export type Values = Map<string, Float32Array<ArrayBuffer>>;

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Random base weights by their names in the file, the same every time; norms scale by about one. */
export function tinyWeights(seed = 1): Values {
  const values: Values = new Map();
  vitParameters(TINY).forEach(({ name, shape }, stream) => {
    const isNorm = /layernorm(_before|_after)?\.weight$/.test(name);
    const drawn = uniformValues(sizeOf(shape), 0.4, [seed, 1], stream);
    values.set(`vit.${name}`, isNorm ? drawn.map((value) => 1 + value) : drawn);
  });
  return values;
}

/** The weights of `tinyWeights` as a checkpoint's tensors. */
export function tinyTensors(seed = 1): Promise<TensorStore> {
  const weights = tinyWeights(seed);
  const entries = vitParameters(TINY).map(
    ({ name, shape }) => [`vit.${name}`, { shape, values: weights.get(`vit.${name}`)! }] as const,
  );
  return openSafetensors(memorySource(writeSafetensors(new Map(entries)), 'tiny'));
}

/** The base of `tinyWeights`, or of other tensors, on a device. */
export async function tinyBase(
  device: Device,
  seed = 1,
  { tensors, ...options }: BaseOptions & { tensors?: TensorStore } = {},
): Promise<BaseModel> {
  const checkpoint = {
    folder: 'tiny',
    config: { model_type: 'vit', ...TINY },
    companions: new Map([
      [
        'preprocessor_config.json',
        { size: { width: 8, height: 8 }, image_mean: [0, 0, 0], image_std: [1, 1, 1] },
      ],
    ]),
    tensors: tensors ?? (await tinyTensors(seed)),
    digest: '',
  };
  return placeBaseModel(device, checkpoint, options);
}

/** Normalised pictures [count, 3, 8, 8]. */
export function randomPictures(count: number, seed = 1): Float32Array<ArrayBuffer> {
  return uniformValues(count * PICTURE, 2, [seed, 2], 0);
}

/** Values of a stage as if it were trained: B is not zero. */
export function randomStage(layers: readonly number[], seed: number, form: StageForm = FORM): Values {
  const values = startStage(form, layers, [seed, 3], null);
  [...values].forEach(([name, start], stream) => {
    values.set(name, uniformValues(start.length, name.includes('lora') ? 0.4 : 0.5, [seed, 4], stream));
  });
  return values;
}

export interface ServedStage {
  layers: readonly number[];
  stage: Stage;
  parameters: Map<string, Tensor>;
}

/** A random stage, placed for serving, as a part of an ensemble's stack. */
export function servedStage(device: Device, layers: readonly number[], seed: number): ServedStage {
  const { stage, parameters } = placeStage(device, FORM, layers, randomStage(layers, seed), 'serve');
  return { layers, stage, parameters };
}

/**
 * Fills the device's pools of freed buffers and textures with NaN: what reads memory that it did not write will show.
 * Tensors of many sizes, and products and layer norms of them, which leave texture forms behind.
 */
export async function poisonPools(device: Device, base: BaseModel): Promise<void> {
  const poison: Tensor[] = [];
  for (let size = 4; size <= 16_384; size *= 2)
    for (let i = 0; i < 12; i++) poison.push(tensor(device, new Float32Array(size).fill(Number.NaN)));
  for (const rows of [1, 5, 16, 40, 320]) {
    const x = tensor(device, new Float32Array(rows * 16).fill(Number.NaN), [rows, 16]);
    const { weight, bias } = base.network.linearOf(0, 'query');
    poison.push(x, linear(x, weight, bias));
  }
  await device.idle();
  for (const one of poison) one.dispose();
}

/** Whether two arrays hold the same bits. */
export function sameBits(a: Float32Array<ArrayBuffer>, b: Float32Array<ArrayBuffer>): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
}

/** The largest difference, relative to the largest expected value. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values, not ${expected.length}`);
  let [worst, scale] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= worst)) worst = error;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return worst / scale;
}

/**
 * Notes errors by what they are of, and hands them back. With S3T_ERRORS set, the largest of each is printed when the tests of the
 * file are done: the README's table.
 */
export function errorsOf(architecture: string): (of: string, error: number) => number {
  const largest = new Map<string, number>();
  afterAll(() => {
    if (!process.env.S3T_ERRORS) return;
    const found = [...largest].map(([of, error]) => `${of} ${error.toExponential(1)}`);
    console.log(`${architecture}: ${found.join(', ')}`);
  });
  return (of, error) => {
    largest.set(of, Math.max(error, largest.get(of) ?? 0));
    return error;
  };
}
