import type { Device } from '@s3t/engine';
import {
  copyInputs,
  Ensemble,
  type HostInputs,
  hostInputs,
  placeStage,
  type Stage,
  type StageValues,
} from '@s3t/model';
import type { PreparedBase } from '@s3t/unlearner/parts';

/** A trained stage, and the group of layers that it adapts. */
export interface MeasuredStage {
  layers: readonly number[];
  values: StageValues;
}

/** Stacks that run side by side: more would take memory and save no time. */
const SIDE_BY_SIDE = 16;

/**
 * The logits of many stacks over the same examples, for example of every prefix of a shard's sequences: computed once, they answer what any
 * ensemble of them would say, because an ensemble's answer is the mean of its stacks' logits.
 *
 * @param stacks top-down
 * @returns for each stack [count, outputs]
 */
export async function stackLogits(
  { base, form }: PreparedBase,
  stacks: readonly (readonly MeasuredStage[])[],
  inputs: HostInputs,
  count: number,
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const logits: Float32Array[] = [];
  for (let from = 0; from < stacks.length; from += SIDE_BY_SIDE) {
    const some = stacks.slice(from, from + SIDE_BY_SIDE);
    const placed = new PlacedStages(base.device, form);
    const ensemble = new Ensemble(
      base,
      some.map((stages, shard) => ({ shard, stages: stages.map((stage) => placed.of(stage)) })),
      form.outputs,
    );
    try {
      logits.push(...(await logitsOf(ensemble, base, inputs, count, signal)));
    } finally {
      ensemble.dispose();
      placed.destroy();
    }
  }
  return logits;
}

/** Stages on the device: one that several stacks share lies there once. */
class PlacedStages {
  readonly #device: Device;
  readonly #form: PreparedBase['form'];
  readonly #placed = new Map<MeasuredStage['values'], ReturnType<typeof placeStage>>();

  constructor(device: Device, form: PreparedBase['form']) {
    this.#device = device;
    this.#form = form;
  }

  of({ layers, values }: MeasuredStage): { layers: readonly number[]; stage: Stage } {
    const placed = this.#placed.get(values) ?? placeStage(this.#device, this.#form, layers, values, 'serve');
    this.#placed.set(values, placed);
    return { layers, stage: placed.stage };
  }

  destroy(): void {
    for (const { parameters } of this.#placed.values())
      for (const tensor of parameters.values()) tensor.destroy();
  }
}

async function logitsOf(
  ensemble: Ensemble,
  { network }: PreparedBase['base'],
  inputs: HostInputs,
  count: number,
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const fields = network.architecture.inputs;
  const parts: Float32Array[][] = ensemble.stacks.map(() => []);
  for (let from = 0; from < count; from += ensemble.largestBatch) {
    signal?.throwIfAborted();
    const rows = Math.min(ensemble.largestBatch, count - from);
    const batch = hostInputs(fields, rows);
    copyInputs(fields, inputs, from, rows, batch, 0);
    const each = await ensemble.forward(batch, rows);
    each.forEach((part, i) => {
      parts[i]!.push(part);
    });
  }
  return parts.map((some) => {
    const whole = new Float32Array(some.reduce((total, part) => total + part.length, 0));
    let at = 0;
    for (const part of some) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  });
}

/** The mean of logits, as an ensemble answers. */
export function meanLogits(logits: readonly Float32Array[]): Float64Array {
  const mean = new Float64Array(logits[0]!.length);
  for (const stack of logits) for (let i = 0; i < mean.length; i++) mean[i]! += stack[i]! / logits.length;
  return mean;
}
