import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Device, type Tensor, tensor } from '@s3t/engine';
import type { LayerAdapter } from '../adapter.ts';
import { openTensors, readJson } from '../checkpoint/open-tensors.ts';
import { LLAMA_TARGETS, type LlamaConfig, type LlamaWeights, loadLlama, parseLlamaConfig } from '../llama.ts';
import { type LoraConfig, loraScale } from '../lora.ts';
import { parseSafetensors, toFloat32 } from '../safetensors.ts';
import type { TrainingConfig } from '../stage-training.ts';
import type { Values } from './tiny.ts';

/** reference.json of tools/reference/llama.py. */
interface About {
  /** Tokens of each text. */
  lengths: number[];
  prompt: number[];
  /** What follows the prompt, greedily: of the base, and with the adapter. */
  continued: { base: number[]; adapter: number[] };
  losses: number[];
  lora: LoraConfig;
  training: TrainingConfig;
  /** Layers of the frozen group and of the trained one, top-down. */
  frozen: number[];
  trained: number[];
  key: [number, number];
}

/** A small Llama, and what transformers and PEFT compute with it. */
export interface LlamaReference {
  device: Device;
  config: LlamaConfig;
  weights: LlamaWeights;
  about: About;
  numbers(name: string): Float32Array<ArrayBuffer>;
  integers(name: string): Int32Array;
  /** The values of a kind ("adapter", "gradient", "trained"), by the names PEFT gives them. */
  named(kind: string): Values;
  place(values: Values, use: 'train' | 'serve'): Map<string, Tensor>;
  /** The adapters of some layers, out of placed parameters. */
  adaptersOf(layers: readonly number[], parameters: ReadonlyMap<string, Tensor>): Map<number, LayerAdapter>;
}

/** As PEFT names it. @param matrix A or B */
const parameterName = (layer: number, path: string, matrix: string): string =>
  `base_model.model.model.layers.${layer}.${path}.lora_${matrix}.weight`;

/** @param name llama2 or llama3 @param positions of the longest text */
export async function llamaReference(
  device: Device,
  name: string,
  positions: number,
): Promise<LlamaReference> {
  const folder = fileURLToPath(new URL(`../../../../tools/reference/llama/${name}`, import.meta.url));
  const config = parseLlamaConfig(await readJson(join(folder, 'config.json')), 'config.json');
  const store = await openTensors(folder);
  const weights = await loadLlama(device, config, store, { positions });
  await store.close();
  const about: About = JSON.parse(await readFile(join(folder, 'reference.json'), 'utf8'));
  const file = new Uint8Array(await readFile(join(folder, 'reference.safetensors')));
  const { tensors } = parseSafetensors(file, 'reference.safetensors');
  const numbers = (of: string) => toFloat32(tensors.get(of)!, of, 'reference.safetensors');
  const { rank } = about.lora;
  const shapeOf = (parameter: string): [number, number] => {
    const target = LLAMA_TARGETS.find(({ path }) => parameter.includes(`.${path}.`))!;
    return parameter.includes('lora_A') ? [rank, target.inputs(config)] : [target.outputs(config), rank];
  };
  return {
    device,
    config,
    weights,
    about,
    numbers,
    integers: (of) => new Int32Array(tensors.get(of)!.bytes.slice().buffer),
    named(kind) {
      const names = [...tensors.keys()].filter((each) => each.startsWith(`${kind}.base_model.`));
      return new Map(names.map((each) => [each.slice(kind.length + 1), numbers(each)]));
    },
    place(values, use) {
      const options = use === 'train' ? { trainable: true } : { constant: true };
      return new Map([...values].map(([of, value]) => [of, tensor(device, value, shapeOf(of), options)]));
    },
    adaptersOf(layers, parameters) {
      const pairsOf = (layer: number) =>
        LLAMA_TARGETS.map(({ name: target, path }) => {
          const [down, up] = ['A', 'B'].map((matrix) => parameters.get(parameterName(layer, path, matrix)));
          return [target, { down: down!, up: up! }] as const;
        });
      const scale = loraScale(about.lora);
      return new Map(layers.map((layer) => [layer, { pairs: Object.fromEntries(pairsOf(layer)), scale }]));
    },
  };
}
