// The adapter_config.json of PEFT: what it says of an adapter, in the fields of PEFT's LoraConfig.

import type { Architecture } from '../architecture.ts';
import { ModelError } from '../errors.ts';
import type { LoraConfig } from '../lora.ts';
import { type StageForm, targetsOf } from '../stage.ts';

/** What PEFT needs to know of an adapter besides its tensors. */
export interface AdapterOptions {
  /** A folder or hub id: where PEFT finds the base. */
  base: string;
  /** Of a hub id. Default: the newest. */
  revision?: string | null;
  /** PEFT's class for the task. Default: null, which PEFT takes for every other task (pictures). */
  taskType?: 'SEQ_CLS' | 'CAUSAL_LM' | null;
}

/** The content of adapter_config.json for an adapter on `layers`. */
export function adapterConfig(
  { architecture, lora, outputs }: StageForm,
  layers: readonly number[],
  { base, revision = null, taskType = null }: AdapterOptions,
): Record<string, unknown> {
  const heads = architecture.headParameters(outputs).map(({ name }) => name.split('.')[0]!);
  return {
    peft_type: 'LORA',
    task_type: taskType,
    base_model_name_or_path: base,
    revision,
    inference_mode: true,
    r: lora.rank,
    lora_alpha: lora.alpha,
    use_rslora: lora.rslora,
    lora_dropout: lora.dropout,
    bias: 'none',
    ...selection(architecture, lora, layers),
    modules_to_save: heads.length > 0 ? [...new Set(heads)] : null,
  };
}

/**
 * The fields by which PEFT finds the layers of an adapter. It compares a name with the ends of paths: where a name would find
 * another layer too ("output.dense" is the end of "attention.output.dense"), every layer is given by its whole path.
 */
function selection(
  architecture: Architecture,
  lora: LoraConfig,
  layers: readonly number[],
): Record<string, unknown> {
  const sorted = [...layers].sort((a, b) => a - b);
  const chosen = targetsOf(architecture, lora);
  const others = architecture.targets.filter((target) => !chosen.includes(target));
  const isClear = chosen.every(({ name }) => !others.some(({ module }) => `.${module}`.endsWith(`.${name}`)));
  if (!isClear)
    return {
      target_modules: sorted.flatMap((layer) =>
        chosen.map(({ module }) => `${architecture.layerModule(layer)}.${module}`),
      ),
    };
  return {
    target_modules: chosen.map(({ name }) => name),
    layers_to_transform: sorted,
    // "layer" of "vit.encoder.layer.3".
    layers_pattern: architecture.layerModule(0).split('.').at(-2),
  };
}

/** Fields that say where an adapter comes from, how its layers were found or how it was started: its tensors tell the rest. */
const HARMLESS = new Set([
  'task_type',
  'auto_mapping',
  'peft_version',
  'base_model_name_or_path',
  'revision',
  'inference_mode',
  'target_modules',
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'modules_to_save',
  'lora_dropout',
  'loftq_config',
  'eva_config',
  'megatron_core',
  'qalora_group_size',
  'ensure_weight_tying',
  'runtime_config',
]);

/** Starts that leave the base as it is. Others (pissa, olora, loftq, corda) make an adapter for changed base weights. */
const STARTS: readonly unknown[] = [true, false, 'gaussian', 'eva', 'orthogonal'];

/**
 * Holds an adapter_config.json against the adapters that are wanted. A field that is not known here must be off: it might change
 * what the adapter computes.
 * @param file what errors name
 * @throws ModelError naming the field
 */
export function checkAdapterConfig(config: Record<string, unknown>, lora: LoraConfig, file: string): void {
  const { bias = 'none', init_lora_weights: start = true, use_rslora = false, ...fields } = config;
  const fail = (field: string, problem: string): never => {
    throw new ModelError(`${file}: field ${field} ${problem}`);
  };
  const mustBe = (field: string, value: unknown, wanted: unknown, why = '') => {
    if (value !== wanted)
      fail(field, `is ${JSON.stringify(value) ?? 'missing'}, not ${JSON.stringify(wanted)}${why}`);
  };
  const { peft_type, r, lora_alpha, ...others } = fields;
  mustBe('peft_type', peft_type, 'LORA', ': only LoRA adapters can be read');
  mustBe('bias', bias, 'none', ': the base stays as it is');
  mustBe('r', r, lora.rank, ', as lora.rank says');
  mustBe('lora_alpha', lora_alpha, lora.alpha, ', as lora.alpha says');
  mustBe('use_rslora', use_rslora, lora.rslora, ', as lora.rslora says');
  if (!STARTS.includes(start))
    fail('init_lora_weights', `is ${JSON.stringify(start)}: such an adapter stands on changed base weights`);
  for (const [field, value] of Object.entries(others))
    if (!HARMLESS.has(field) && !isOff(value))
      fail(field, `is ${JSON.stringify(value)}, which this model does not compute; it must be off`);
}

function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
