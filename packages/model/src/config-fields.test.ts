import { describe, expect, it } from 'vitest';
import { bertParameters, parseBertConfig } from './bert.ts';
import { ModelError } from './errors.ts';
import { llamaParameters, parseLlamaConfig } from './llama.ts';
import { PUBLISHED_CONFIGS } from './testing/published-configs.ts';
import { parseVitConfig, vitParameters } from './vit.ts';

/** The parameters of the base that a configuration describes. */
function parametersOf(config: Record<string, unknown>): readonly { shape: readonly number[] }[] {
  if (config.model_type === 'vit') return vitParameters(parseVitConfig(config, 'base/config.json'));
  if (config.model_type === 'llama') return llamaParameters(parseLlamaConfig(config, 'base/config.json'));
  return bertParameters(parseBertConfig(config, 'base/config.json'));
}

/** Millions of numbers in the base without a head of its own, as the models' papers and cards count them. */
const MILLIONS: Record<string, number> = {
  'google/vit-base-patch16-224-in21k': 85.8,
  'google/vit-large-patch16-224-in21k': 303.3,
  'FacebookAI/roberta-base': 124.1,
  'FacebookAI/roberta-large': 354.3,
  'FacebookAI/xlm-roberta-base': 277.5,
  'google-bert/bert-base-uncased': 109.5,
  'google-bert/bert-base-chinese': 102.3,
  'sentence-transformers/all-MiniLM-L6-v2': 22.7,
  'meta-llama/Llama-2-7b-hf': 6738.4,
  'meta-llama/Llama-2-13b-hf': 13015.9,
  'meta-llama/Meta-Llama-3-8B': 8030.3,
  'meta-llama/Llama-3.2-1B': 1235.8,
  'HuggingFaceTB/SmolLM2-135M-Instruct': 134.5,
};

describe('the fields of config.json', () => {
  it.each(Object.entries(PUBLISHED_CONFIGS))('are read as %s was published', (name, config) => {
    const size = parametersOf(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(size / 1e6).toBeCloseTo(MILLIONS[name]!, 0);
  });

  const one = ['google/vit-base-patch16-224-in21k', 'FacebookAI/roberta-base', 'meta-llama/Llama-3.2-1B'];
  const unknown: [string, unknown][] = [
    ['num_experts', 8],
    ['a_field_of_tomorrow', null],
    ['hidden_sizes', [768]],
    ['final_logit_softcapping', 30],
  ];
  it.each(one.flatMap((name) => unknown.map(([field, value]) => [name, field, value] as const)))(
    'of %s may not be %s: it is not known',
    (name, field, value) => {
      const parse = () => parametersOf({ ...PUBLISHED_CONFIGS[name], [field]: value });
      expect(parse).toThrow(ModelError);
      expect(parse).toThrow(`base/config.json: field ${field} is not known`);
    },
  );

  const changing: [string, unknown, string][] = [
    ['is_decoder', true, 'is true; only false is known'],
    ['add_cross_attention', true, 'is true; only false is known'],
    ['pruned_heads', { 0: [1] }, 'is {"0":[1]}; only {} is known'],
    ['quantization_config', { bits: 4 }, 'is {"bits":4}; only null is known'],
    ['num_hidden_layers', 1e9, 'is 1000000000; at most 10000 are known'],
    ['auto_map', { AutoModel: 'own.Model' }, 'is {"AutoModel":"own.Model"}; only null is known'],
  ];
  it.each(
    one.flatMap((name) => changing.map(([field, value, problem]) => [name, field, value, problem] as const)),
  )('of %s may not change what is computed by %s', (name, field, value, problem) => {
    expect(() => parametersOf({ ...PUBLISHED_CONFIGS[name], [field]: value })).toThrow(
      `base/config.json: field ${field} ${problem}`,
    );
  });

  it.each([
    [
      'rope_scaling',
      { rope_type: 'default', factor: 2 },
      'rope_scaling.factor is 2; it is not known for "default"',
    ],
    [
      'rope_scaling',
      { type: 'linear', factor: 2, beta: 1 },
      'rope_scaling.beta is 1; it is not known for "linear"',
    ],
    [
      'rope_parameters',
      { rope_theta: 1e4, partial_rotary_factor: 0.5 },
      'rope_parameters.partial_rotary_factor is 0.5',
    ],
  ])('of a Llama may not say of %s %j what is not known', (field, value, problem) => {
    const { rope_scaling: _, ...config } = PUBLISHED_CONFIGS['meta-llama/Llama-3.2-1B']!;
    expect(() => parametersOf({ ...config, [field]: value })).toThrow(`base/config.json: field ${problem}`);
  });

  it('of a Llama may not give its rotations twice', () => {
    const rope_parameters = { rope_theta: 5e5, rope_type: 'default' };
    expect(() => parametersOf({ ...PUBLISHED_CONFIGS['meta-llama/Llama-3.2-1B'], rope_parameters })).toThrow(
      'field rope_scaling must be absent where there is rope_parameters',
    );
  });
});
