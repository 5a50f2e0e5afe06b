import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { uniformValues } from '@s3t/engine';
import { type VitConfig, vitParameters, writeSafetensors } from '@s3t/model';
import type { RunConfig } from '@s3t/unlearner';
import { LaboratoryError } from './errors.ts';

/** The checkout: small bases lie in it, and in no package. */
const ROOT = join(import.meta.dirname, '../../..');

/** By what a base has to do. Those of texts are small and random. */
const BASES: Partial<Record<RunConfig['task'], string>> = {
  'image-classification': 'assets/vit-tiny',
  'text-classification': 'tools/reference/roberta',
  'text-regression': 'tools/reference/roberta',
  'causal-lm': 'tools/reference/llama/llama3',
};

/** A small base for a smoke run. */
export function smokeBase(task: RunConfig['task']): string {
  const folder = join(ROOT, BASES[task] ?? '');
  if (BASES[task] && existsSync(folder)) return folder;
  throw new LaboratoryError('usage', '--smoke: needs a checkout of S3T; name a small base with --model');
}

/** A few records in the published format of a task. */
export function smokeData(experiment: string, dataset: string): string {
  return join(import.meta.dirname, '../fixtures', experiment, dataset);
}

/** A base by name; `random:<layers>x<width>` makes a ViT for 28 x 28 pixels with random weights, the same every time, to measure time with. */
export async function baseOf(base: string, out: string): Promise<string> {
  const [, layers, width] = /^random:(\d+)x(\d+)$/.exec(base) ?? [];
  if (layers === undefined) return base;
  if (Number(width) % 32 !== 0 || Number(layers) < 1)
    throw new LaboratoryError(
      'usage',
      `--model: ${base}: the width must be a multiple of 32; random:24x64 would do`,
    );
  const config: VitConfig = {
    ...{
      hidden_size: Number(width),
      num_hidden_layers: Number(layers),
      num_attention_heads: Number(width) / 16,
    },
    ...{ intermediate_size: 4 * Number(width), hidden_act: 'gelu', layer_norm_eps: 1e-6, qkv_bias: true },
    ...{ image_size: 28, patch_size: 7, num_channels: 1 },
  };
  const tensors = vitParameters(config).map(({ name, shape }, stream) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const values = uniformValues(size, shape.length > 1 ? 0.05 : 0.02, [1, 0], stream);
    const isScale = /norm[^.]*\.weight$/.test(name);
    return [`vit.${name}`, { shape, values: isScale ? values.map((value) => 1 + value) : values }] as const;
  });
  const folder = join(out, 'base');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'vit', ...config }));
  const picture = { size: { width: 28, height: 28 }, image_mean: [0.5], image_std: [0.5] };
  await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(picture));
  await writeFile(join(folder, 'model.safetensors'), writeSafetensors(new Map(tensors)));
  return folder;
}
