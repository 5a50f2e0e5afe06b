import { type Device, uniformValues } from '@s3t/engine';
import {
  type BaseModel,
  type BaseOptions,
  type Checkpoint,
  placeBaseModel,
  type StageForm,
  type StageValues,
  startStage,
  vitParameters,
} from '@s3t/model';

export interface VitSize {
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  intermediate_size: number;
  image_size: number;
  patch_size: number;
}

/** 12 layers as in a ViT-base, narrower, so that a round is short. */
export const SIZE: VitSize = {
  hidden_size: 256,
  num_hidden_layers: 12,
  num_attention_heads: 4,
  intermediate_size: 1024,
  image_size: 56,
  patch_size: 7,
};
/** Adapter groups of them. */
export const GROUPS = 6;

/** A ViT of random weights on a device. */
export async function randomVit(
  device: Device,
  size: VitSize,
  options: BaseOptions = {},
): Promise<BaseModel> {
  const config = {
    model_type: 'vit',
    hidden_act: 'gelu' as const,
    layer_norm_eps: 1e-12,
    num_channels: 3,
    qkv_bias: true,
    ...size,
  };
  const shapes = new Map(vitParameters(config).map(({ name, shape }) => [name, shape]));
  const side = size.image_size;
  const of = (name: string) => shapes.get(name)!;
  const checkpoint: Checkpoint = {
    folder: 'random',
    config,
    companions: new Map([
      [
        'preprocessor_config.json',
        { size: { width: side, height: side }, image_mean: [0, 0, 0], image_std: [1, 1, 1] },
      ],
    ]),
    tensors: {
      names: () => shapes.keys(),
      has: (name) => shapes.has(name),
      info: (name) => ({ shape: of(name), dtype: 'F32' }),
      fileOf: () => 'random',
      read: async (name) => {
        const shape = of(name);
        const length = shape.reduce((product, extent) => product * extent, 1);
        const values = uniformValues(length, 0.04, [1, 0], [...shapes.keys()].indexOf(name));
        return /norm[^.]*\.weight$/.test(name) ? values.map((value) => 1 + value) : values;
      },
      close: async () => {},
    },
    digest: '',
  };
  return placeBaseModel(device, checkpoint, options);
}

/** The shapes of stages with LoRA on query and value, as the paper has them. */
export function formOf({ network }: BaseModel): StageForm {
  const lora = { rank: 16, alpha: 16, rslora: true, dropout: 0, targets: ['query', 'value'] };
  return { architecture: network.architecture, lora, outputs: 10 };
}

/** The values of a stage as if it had been trained. */
export function randomStage(form: StageForm, layers: readonly number[], seed: number): StageValues {
  const values = startStage(form, layers, [seed, 3], null);
  for (const [i, [name, value]] of [...values].entries())
    if (name.includes('lora_B')) values.set(name, uniformValues(value.length, 0.02, [seed, 4], i));
  return values;
}
