import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { uniformValues } from '@s3t/engine';
import { type VitConfig, vitParameters, writeSafetensors } from '@s3t/model';

/** A ViT so small that a whole run trains in seconds: 8 x 8 grey pixels, 5 tokens. */
const TINY_VIT: VitConfig = {
  hidden_size: 16,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  intermediate_size: 32,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-6,
  image_size: 8,
  patch_size: 4,
  num_channels: 1,
  qkv_bias: true,
};

export interface TinyBase {
  config: Record<string, unknown>;
  preprocessor: Record<string, unknown>;
  tensors: Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>;
}

/** A base with random weights that are the same every time. */
export function tinyBase(change: Partial<VitConfig> = {}, seed = 1): TinyBase {
  const config = { ...TINY_VIT, ...change };
  const side = config.image_size;
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>();
  vitParameters(config).forEach(({ name, shape }, stream) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    // Norms scale by about one; the rest is large enough that pictures of other classes come out elsewhere.
    const values = uniformValues(size, shape.length > 1 ? 0.3 : 0.05, [seed, 0], stream);
    const isNorm = /norm[^.]*\.weight$|layernorm\.weight$/.test(name);
    tensors.set(`vit.${name}`, { shape, values: isNorm ? values.map((value) => 1 + value) : values });
  });
  return {
    config: { model_type: 'vit', ...config },
    preprocessor: {
      size: { width: side, height: side },
      image_mean: new Array<number>(config.num_channels).fill(0.5),
      image_std: new Array<number>(config.num_channels).fill(0.25),
    },
    tensors,
  };
}

/** Writes a base in Hugging Face layout. */
export async function writeBase(folder: string, { config, preprocessor, tensors }: TinyBase): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  await writeFile(join(folder, 'model.safetensors'), writeSafetensors(tensors));
}
