import type { Tensor } from './tensor.ts';

/** One step of the tape: what made a tensor, and how its gradient reaches the inputs. */
export interface Node {
  operation: string;
  /** Grows with time: gradients are walked in falling order. */
  order: number;
  inputs: readonly Tensor[];
  /** Through which inputs gradients flow. */
  wanted: readonly boolean[];
  /** What the rule keeps besides inputs and output; goes with the output. */
  saved: readonly Tensor[];
  /** The gradient for each input, or null where none flows. */
  backward: (gradient: Tensor) => readonly (Tensor | null)[];
  /** In place of `backward`: computes the tensor again, with a tape that leads to `inputs`. */
  recompute?: () => Tensor;
}

let clock = 0;
let recording = true;

export function nextOrder(): number {
  return clock++;
}

let inRule = false;

/** Whether a gradient is being computed: then results are f32, whatever activations are stored as. */
export function isInRule(): boolean {
  return inRule;
}

/** Runs a gradient rule. */
export function asRule<T>(body: () => T): T {
  const before = inRule;
  inRule = true;
  try {
    return body();
  } finally {
    inRule = before;
  }
}

export function isRecording(): boolean {
  return recording;
}

/** Runs `body` without a tape. */
export function withoutGradients<T>(body: () => T): T {
  return withRecording(false, body);
}

/** Runs `body` with a tape, or without. */
export function withRecording<T>(on: boolean, body: () => T): T {
  const before = recording;
  recording = on;
  try {
    return body();
  } finally {
    recording = before;
  }
}
