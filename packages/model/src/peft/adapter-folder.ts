// Adapters as PEFT saves them: a folder with adapter_config.json and adapter_model.safetensors. Stages have PEFT's names already.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unreadable } from '../checkpoint/byte-source.ts';
import { readJson } from '../checkpoint/open-tensors.ts';
import { ModelError } from '../errors.ts';
import { parseSafetensors } from '../safetensors.ts';
import { decodeStage, encodeStage, type StageForm, type StageValues } from '../stage.ts';
import type { FrozenStage } from '../stage-training.ts';
import { type AdapterOptions, adapterConfig, checkAdapterConfig } from './adapter-config.ts';

export const ADAPTER_CONFIG = 'adapter_config.json';
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

/** The values of a stack as those of one adapter: of all its groups, with the head of the last stage. */
export function stackValues(stages: readonly FrozenStage[]): { layers: number[]; values: StageValues } {
  return {
    layers: stages.flatMap(({ layers }) => layers),
    values: new Map(stages.flatMap(({ values }) => [...values])),
  };
}

/**
 * Writes a stack as one PEFT adapter into a folder, which is made if it is not there.
 * @param stages top-down, at least one
 */
export async function writeAdapter(
  folder: string,
  form: StageForm,
  stages: readonly FrozenStage[],
  options: AdapterOptions,
): Promise<void> {
  const { layers, values } = stackValues(stages);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, ADAPTER_CONFIG),
    `${JSON.stringify(adapterConfig(form, layers, options), null, 2)}\n`,
  );
  await writeFile(join(folder, ADAPTER_WEIGHTS), encodeStage(form, layers, values));
}

/**
 * Reads a PEFT adapter.
 * @param layers those it must have adapters in: of one group, or of all groups of a stack
 * @returns the values of all these layers and the head; whoever splits a stack takes the names of a group's layers
 * @throws ModelError naming the file, and the field or tensor, that does not fit `form` and `layers`
 */
export async function readAdapter(
  folder: string,
  form: StageForm,
  layers: readonly number[],
): Promise<StageValues> {
  const config = join(folder, ADAPTER_CONFIG);
  checkAdapterConfig(await readJson(config), form.lora, config);
  const file = join(folder, ADAPTER_WEIGHTS);
  const bytes = new Uint8Array(
    await readFile(file).catch((cause) => {
      throw unreadable(file, cause);
    }),
  );
  const values = decodeStage(bytes, form, layers, file);
  for (const name of parseSafetensors(bytes, file).tensors.keys())
    if (!values.has(name))
      throw new ModelError(
        `${file}: tensor ${name} belongs to no target of layers ${[...layers].sort((a, b) => a - b)}`,
      );
  return values;
}
