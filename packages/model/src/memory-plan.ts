import { type AdapterClass, Device, type DryLimits, empty, ropeTable } from '@s3t/engine';
import { frozenType, type Quantization } from './base-weights.ts';
import { type ActivationType, withHalfActivations } from './half-activations.ts';
import { arrangeLlama, type LlamaConfig, llamaNetwork, llamaParameters } from './llama.ts';
import { ropeOptions } from './llama-rope.ts';
import type { LoraConfig } from './lora.ts';
import type { BaseModel } from './model.ts';
import { type StageForm, type StageValues, startStage } from './stage.ts';
import { trainStage } from './stage-training.ts';

export interface PlannedStage {
  config: LlamaConfig;
  quantization?: Quantization | undefined;
  /** What layers hand on is stored in. Default: f32. */
  activations?: ActivationType | undefined;
  lora: LoraConfig;
  /** The layers of the group to train. */
  layers: readonly number[];
  /** Those of the frozen stages above, top-down. */
  prefix?: readonly (readonly number[])[];
  batchSize: number;
  /** Of a text. */
  tokens: number;
}

/** Bytes of device memory. */
export interface MemoryPlan {
  /** The base's weights. */
  base: number;
  /** The most that tensors hold at once while a stage is trained, base included. */
  most: number;
  /** The rearranged copies of weights that some adapters read, beside it. */
  textures: number;
}

/**
 * What training a stage of a Llama takes on a device of a class and limits, with none of it taken: the training itself runs, on a
 * device that only counts. Adapters, gradients, optimiser, activations and scratch are in `most`.
 */
export async function planLlamaStage(
  { config, quantization, activations, lora, layers, prefix = [], batchSize, tokens }: PlannedStage,
  adapterClass: AdapterClass,
  limits: DryLimits,
): Promise<MemoryPlan> {
  const device = Device.dry(adapterClass, limits);
  try {
    const rotations = ropeTable(device, { ...ropeOptions(config), positions: tokens });
    const weights = new Map(
      llamaParameters(config, frozenType(quantization)).map(({ name, shape, dtype }) => {
        const weight = empty(device, shape, dtype);
        weight.storage.constant = true;
        return [name, weight];
      }),
    );
    const plain = llamaNetwork(config, arrangeLlama(config, weights, rotations), tokens);
    const network = activations === 'f16' ? withHalfActivations(plain) : plain;
    const base = device.memory().liveBytes;
    const form: StageForm = { architecture: network.architecture, lora, outputs: 0 };
    await trainOne({ device, network } as BaseModel, form, { layers, prefix, batchSize });
    const { peakBytes, textureBytes } = device.memory();
    return { base, most: peakBytes, textures: textureBytes };
  } finally {
    device.close();
  }
}

/** Trains a stage for one step on what has no meaning. Its memory is that of every step. */
export async function trainOne(
  base: Pick<BaseModel, 'device' | 'network'>,
  form: StageForm,
  {
    layers,
    prefix = [],
    batchSize,
  }: Required<Pick<PlannedStage, 'layers' | 'batchSize'>> & Pick<PlannedStage, 'prefix'>,
): Promise<StageValues> {
  const { tokens } = form.architecture;
  return trainStage(base as BaseModel, {
    form,
    objective: 'causal-lm',
    training: {
      epochs: 1,
      batchSize,
      learningRate: 1e-3,
      weightDecay: 0,
      schedule: 'constant',
      warmup: 0,
      clipNorm: null,
    },
    key: [1, 2],
    layers,
    prefix: prefix.map((frozen) => ({ layers: frozen, values: startStage(form, frozen, [1, 2], null) })),
    records: batchSize,
    activation: (_, target) => target.fill(0),
    labels: new Uint32Array(batchSize * tokens),
    weights: new Float32Array(batchSize * tokens).fill(1),
    order: () => Uint32Array.from({ length: batchSize }, (_, i) => i),
  });
}
