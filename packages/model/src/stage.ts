import { type Device, type RandomKey, type Tensor, tensor, uniformValues } from '@s3t/engine';
import type { LayerAdapter, LinearWeights, LoraPair } from './adapter.ts';
import { ModelError } from './errors.ts';
import { type LoraConfig, loraScale } from './lora.ts';
import { parseSafetensors, toFloat32, writeSafetensors } from './safetensors.ts';
import { type LoraTarget, VIT_TARGETS, type VitConfig } from './vit.ts';

/** What fixes the shapes of every stage of a run. */
export interface StageForm {
  config: VitConfig;
  lora: LoraConfig;
  /** Number of labels. */
  labels: number;
}

/** A trained (or starting) stage on a device: the adapters of its group, by layer number, and its own head. */
export interface Stage {
  adapters: ReadonlyMap<number, LayerAdapter>;
  head: LinearWeights;
}

const ADAPTER_PREFIX = 'base_model.model.vit.encoder.layer';
const HEAD = 'base_model.model.classifier';

/** The tensors of a stage in a fixed order, by the names PEFT gives them. */
function parametersOf(form: StageForm, layers: readonly number[]): { name: string; shape: number[] }[] {
  const { hidden_size: width } = form.config;
  const { rank } = form.lora;
  const parameters = layers.flatMap((layer) =>
    targetsOf(form.lora).flatMap((target) => {
      const name = `${ADAPTER_PREFIX}.${layer}.attention.attention.${target}`;
      return [
        { name: `${name}.lora_A.weight`, shape: [rank, width] },
        { name: `${name}.lora_B.weight`, shape: [width, rank] },
      ];
    }),
  );
  return [
    ...parameters,
    { name: `${HEAD}.weight`, shape: [form.labels, width] },
    { name: `${HEAD}.bias`, shape: [form.labels] },
  ];
}

/** The targets of a configuration in the model's own order. @throws ModelError for a name the model does not have */
export function targetsOf({ targets }: LoraConfig): LoraTarget[] {
  for (const target of targets)
    if (!(VIT_TARGETS as readonly string[]).includes(target))
      throw new ModelError(
        `lora.targets: the model has no layer "${target}"; it has ${VIT_TARGETS.join(', ')}`,
      );
  return VIT_TARGETS.filter((target) => targets.includes(target));
}

/**
 * The values a stage starts from. A is uniform within 1 / sqrt(width), as PEFT draws it (Kaiming, a = sqrt 5); B is zero.
 * The head goes on from the stage before, or is uniform with standard deviation 0.02.
 */
export function startStage(
  form: StageForm,
  layers: readonly number[],
  key: RandomKey,
  previousHead: { weight: Float32Array<ArrayBuffer>; bias: Float32Array<ArrayBuffer> } | null,
): Map<string, Float32Array<ArrayBuffer>> {
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  parametersOf(form, layers).forEach(({ name, shape }, stream) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    if (name.endsWith('lora_A.weight'))
      values.set(name, uniformValues(size, 1 / Math.sqrt(form.config.hidden_size), key, stream));
    else if (name === `${HEAD}.weight`)
      values.set(name, previousHead?.weight ?? uniformValues(size, 0.02 * Math.sqrt(3), key, stream));
    else if (name === `${HEAD}.bias`) values.set(name, previousHead?.bias ?? new Float32Array(size));
    else values.set(name, new Float32Array(size));
  });
  return values;
}

/** Puts a stage's values on a device. Trainable, or constant for serving. */
export function placeStage(
  device: Device,
  form: StageForm,
  layers: readonly number[],
  values: ReadonlyMap<string, Float32Array<ArrayBuffer>>,
  use: 'train' | 'serve',
): { stage: Stage; parameters: Map<string, Tensor> } {
  const parameters = new Map<string, Tensor>();
  for (const { name, shape } of parametersOf(form, layers)) {
    const options = use === 'train' ? { trainable: true } : { constant: true };
    parameters.set(name, tensor(device, values.get(name)!, shape, options));
  }
  const scale = loraScale(form.lora);
  const adapters = new Map<number, LayerAdapter>();
  for (const layer of layers) {
    const pairs: Record<string, LoraPair> = {};
    for (const target of targetsOf(form.lora)) {
      const name = `${ADAPTER_PREFIX}.${layer}.attention.attention.${target}`;
      pairs[target] = {
        down: parameters.get(`${name}.lora_A.weight`)!,
        up: parameters.get(`${name}.lora_B.weight`)!,
      };
    }
    adapters.set(layer, { pairs, scale });
  }
  const head = { weight: parameters.get(`${HEAD}.weight`)!, bias: parameters.get(`${HEAD}.bias`)! };
  return { stage: { adapters, head }, parameters };
}

/** The head's values within a stage's. */
export function headOf(values: ReadonlyMap<string, Float32Array<ArrayBuffer>>): {
  weight: Float32Array<ArrayBuffer>;
  bias: Float32Array<ArrayBuffer>;
} {
  return { weight: values.get(`${HEAD}.weight`)!, bias: values.get(`${HEAD}.bias`)! };
}

/** A stage's values as the bytes of a safetensors file. */
export function encodeStage(
  form: StageForm,
  layers: readonly number[],
  values: ReadonlyMap<string, Float32Array>,
): Uint8Array<ArrayBuffer> {
  const entries = parametersOf(form, layers).map(
    ({ name, shape }) => [name, { shape, values: values.get(name)! }] as const,
  );
  return writeSafetensors(new Map(entries), { format: 'pt' });
}

/** Reads what `encodeStage` wrote. @throws ModelError naming the file and tensor that does not fit */
export function decodeStage(
  bytes: Uint8Array<ArrayBuffer>,
  form: StageForm,
  layers: readonly number[],
  file: string,
): Map<string, Float32Array<ArrayBuffer>> {
  const { tensors } = parseSafetensors(bytes, file);
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  for (const { name, shape } of parametersOf(form, layers)) {
    const stored = tensors.get(name);
    if (!stored) throw new ModelError(`${file}: there is no tensor ${name}`);
    if (stored.shape.join() !== shape.join())
      throw new ModelError(`${file}: tensor ${name} has shape [${stored.shape}], not [${shape}]`);
    values.set(name, toFloat32(stored, name, file));
  }
  return values;
}
