import { type Device, type RandomKey, type Tensor, tensor, uniformValues } from '@s3t/engine';
import type { LayerAdapter, LoraPair } from './adapter.ts';
import type { AdapterTarget, Architecture, Head } from './architecture.ts';
import { ModelError, OptionError } from './errors.ts';
import { type LoraConfig, loraScale } from './lora.ts';
import { ownedUnless } from './owned.ts';
import { parseSafetensors, toFloat32, writeSafetensors } from './safetensors.ts';

/** What fixes the shapes of every stage of a run. */
export interface StageForm {
  architecture: Architecture;
  lora: LoraConfig;
  /** Numbers that the head gives: one for each label. */
  outputs: number;
}

/** A stage's tensors on the host, by the names PEFT gives them. */
export type StageValues = Map<string, Float32Array<ArrayBuffer>>;

/** A trained (or starting) stage on a device: the adapters of its group, by layer number, and its own head. */
export interface Stage {
  adapters: ReadonlyMap<number, LayerAdapter>;
  head: Head;
}

/** What PEFT puts before the name of every module. */
const PREFIX = 'base_model.model.';

interface StageParameter {
  name: string;
  shape: readonly number[];
  /** A and B of an adapter, or a part of the head. */
  role: 'down' | 'up' | 'head';
}

/** The tensors of a stage in a fixed order, by the names PEFT gives them. */
function parametersOf(
  { architecture, lora, outputs }: StageForm,
  layers: readonly number[],
): StageParameter[] {
  const { rank } = lora;
  const adapters = layers.flatMap((layer) =>
    targetsOf(architecture, lora).flatMap((target): StageParameter[] => {
      const { down, up } = adapterNames(architecture, layer, target);
      return [
        { name: down, shape: [rank, target.inputs], role: 'down' },
        { name: up, shape: [target.outputs, rank], role: 'up' },
      ];
    }),
  );
  const head = architecture
    .headParameters(outputs)
    .map(({ name, shape }): StageParameter => ({ name: `${PREFIX}${name}`, shape, role: 'head' }));
  return [...adapters, ...head];
}

function adapterNames(architecture: Architecture, layer: number, { module }: AdapterTarget) {
  const name = `${PREFIX}${architecture.layerModule(layer)}.${module}`;
  return { down: `${name}.lora_A.weight`, up: `${name}.lora_B.weight` };
}

/** The targets of a configuration in the model's own order. @throws OptionError for a name the model does not have */
export function targetsOf(architecture: Architecture, { targets }: LoraConfig): AdapterTarget[] {
  const names = architecture.targets.map(({ name }) => name);
  for (const target of targets)
    if (!names.includes(target))
      throw new OptionError(`lora.targets: the model has no layer "${target}"; it has ${names.join(', ')}`);
  return architecture.targets.filter(({ name }) => targets.includes(name));
}

/**
 * The values a stage starts from. A is uniform within 1 / sqrt(inputs), as PEFT draws it (Kaiming, a = sqrt 5); B is zero.
 * The head goes on from the stage before, or is uniform with standard deviation 0.02, its biases zero.
 * @param previous the values of the stage above, null for a first stage
 */
export function startStage(
  form: StageForm,
  layers: readonly number[],
  key: RandomKey,
  previous: ReadonlyMap<string, Float32Array<ArrayBuffer>> | null,
): StageValues {
  const values: StageValues = new Map();
  parametersOf(form, layers).forEach(({ name, shape, role }, stream) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const uniform = (bound: number) => uniformValues(size, bound, key, stream);
    if (role === 'down') values.set(name, uniform(1 / Math.sqrt(shape[1]!)));
    else if (role === 'up') values.set(name, new Float32Array(size));
    else if (previous) values.set(name, previous.get(name)!);
    else values.set(name, shape.length > 1 ? uniform(0.02 * Math.sqrt(3)) : new Float32Array(size));
  });
  return values;
}

/** Puts a stage's values on a device. Trainable, or constant for serving. Where one does not fit, none stays there. */
export function placeStage(
  device: Device,
  form: StageForm,
  layers: readonly number[],
  values: ReadonlyMap<string, Float32Array<ArrayBuffer>>,
  use: 'train' | 'serve',
): { stage: Stage; parameters: Map<string, Tensor> } {
  const options = use === 'train' ? { trainable: true } : { constant: true };
  const parameters = ownedUnless((owned) => {
    const place = ({ name, shape }: StageParameter) =>
      owned.add(tensor(device, values.get(name)!, shape, options), (placed) => placed.destroy());
    return new Map(parametersOf(form, layers).map((parameter) => [parameter.name, place(parameter)]));
  });
  const { architecture, lora, outputs } = form;
  const scale = loraScale(lora);
  const adapters = new Map<number, LayerAdapter>();
  for (const layer of layers) {
    const pairs: Record<string, LoraPair> = {};
    for (const target of targetsOf(architecture, lora)) {
      const { down, up } = adapterNames(architecture, layer, target);
      pairs[target.name] = { down: parameters.get(down)!, up: parameters.get(up)! };
    }
    adapters.set(layer, { pairs, scale });
  }
  const head = Object.fromEntries(
    architecture.headParameters(outputs).map(({ name }) => [name, parameters.get(`${PREFIX}${name}`)!]),
  );
  return { stage: { adapters, head }, parameters };
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
): StageValues {
  const { tensors } = parseSafetensors(bytes, file);
  const values: StageValues = new Map();
  for (const { name, shape } of parametersOf(form, layers)) {
    const stored = tensors.get(name);
    if (!stored) throw new ModelError(`${file}: there is no tensor ${name}`);
    if (stored.shape.join() !== shape.join())
      throw new ModelError(`${file}: tensor ${name} has shape [${stored.shape}], not [${shape}]`);
    values.set(name, toFloat32(stored, name, file));
  }
  return values;
}
