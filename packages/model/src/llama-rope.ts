// How a Llama turns queries and keys by their positions, as config.json says it.

import type { RopeOptions } from '@s3t/engine';
import type { Fail } from './config-fields.ts';

/** How the frequencies of a rotary embedding are stretched over a longer context, as config.json says it. */
export type RopeScaling =
  | { rope_type: 'linear'; factor: number }
  | {
      rope_type: 'llama3';
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_max_position_embeddings: number;
    };

export interface RopeConfig {
  rope_theta: number;
  rope_scaling: RopeScaling | null;
}

/** The fields of config.json that are read here. */
export const ROPE_FIELDS = ['rope_theta', 'rope_scaling', 'rope_parameters'] as const;

type RopeType = 'default' | RopeScaling['rope_type'];
const FIELDS_OF_TYPE: Readonly<Record<RopeType, readonly string[]>> = {
  default: [],
  linear: ['factor'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'],
};

/** `rope_theta` and `rope_scaling`, or `rope_parameters`, in which transformers 5 writes both. */
export function parseRope(config: Record<string, unknown>, fail: Fail): RopeConfig {
  if (config.rope_parameters != null && config.rope_scaling != null)
    fail('rope_scaling', 'must be absent where there is rope_parameters');
  const field = config.rope_parameters == null ? 'rope_scaling' : 'rope_parameters';
  const rope = config[field] ?? {};
  if (typeof rope !== 'object' || Array.isArray(rope)) fail(field, 'must be an object or null');
  const { type, rope_type = type ?? 'default', ...rest } = rope as Record<string, unknown>;
  const positive = (name: string, value: unknown): number =>
    typeof value === 'number' && Number.isFinite(value) && value > 0
      ? value
      : fail(name, `must be a positive number, not ${JSON.stringify(value)}`);
  const factor = (name: string) => positive(`${field}.${name}`, rest[name]);
  const rope_theta =
    rest.rope_theta == null ? positive('rope_theta', config.rope_theta ?? 10_000) : factor('rope_theta');
  const known = FIELDS_OF_TYPE[rope_type as RopeType];
  for (const [name, value] of Object.entries(rest)) {
    if (name === 'rope_theta' || known?.includes(name)) continue;
    if (name === 'partial_rotary_factor' && (value == null || value === 1)) continue;
    if (known) fail(`${field}.${name}`, `is ${JSON.stringify(value)}; it is not known for "${rope_type}"`);
  }
  switch (rope_type) {
    case 'default':
      return { rope_theta, rope_scaling: null };
    case 'linear':
      return { rope_theta, rope_scaling: { rope_type, factor: factor('factor') } };
    case 'llama3': {
      const rope_scaling = {
        rope_type,
        factor: factor('factor'),
        low_freq_factor: factor('low_freq_factor'),
        high_freq_factor: factor('high_freq_factor'),
        original_max_position_embeddings: factor('original_max_position_embeddings'),
      } as const;
      if (rope_scaling.low_freq_factor >= rope_scaling.high_freq_factor)
        fail(`${field}.low_freq_factor`, 'must be below high_freq_factor');
      return { rope_theta, rope_scaling };
    }
    default:
      return fail(
        `${field}.rope_type`,
        `is ${JSON.stringify(rope_type)}; "default", "linear" and "llama3" are known`,
      );
  }
}

export function ropeOptions({
  head_dim,
  rope_theta,
  rope_scaling: scaling,
}: RopeConfig & { head_dim: number }): Omit<RopeOptions, 'positions'> {
  const plain = { headWidth: head_dim, theta: rope_theta };
  if (scaling === null) return plain;
  const { factor } = scaling;
  if (scaling.rope_type === 'linear') return { ...plain, scaling: { factor } };
  return {
    ...plain,
    scaling: {
      factor,
      lowFrequencyFactor: scaling.low_freq_factor,
      highFrequencyFactor: scaling.high_freq_factor,
      originalPositions: scaling.original_max_position_embeddings,
    },
  };
}
