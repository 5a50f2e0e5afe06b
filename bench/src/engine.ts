import type { Work } from './cases.ts';

/** An engine as the benchmark drives it. */
export interface BenchEngine {
  /** What it runs on. */
  adapter: string;
  /** Brings the operands where the engine wants them, outside of what is timed. */
  prepare(work: Work): Promise<Prepared>;
}

export interface Prepared {
  /** Does the work `times` times, and resolves when all results are there. */
  run(times: number): Promise<void>;
  /**
   * The result of doing it once, read back: the output; then, if it has a backward pass, the gradients. Of a training step the
   * loss and the gradients of the adapters, in the order of the weights and of their shape in checkpoints.
   */
  result(): Promise<ArrayLike<number>>;
  /** Frees what it holds. */
  dispose(): void;
}

export const engineNames = ['s3t', 's3t eager', 'jax-js webgpu', 'jax-js wasm', 'tfjs-webgpu'] as const;
export type EngineName = (typeof engineNames)[number];

/** What the parent asks of a child, and what it answers. */
export type Request =
  | { kind: 'open'; engine: EngineName }
  | { kind: 'prepare'; index: number }
  | { kind: 'run'; times: number }
  | { kind: 'done' }
  | { kind: 'trace' };

export type Answer = Partial<Success> | { error: string };

export interface Success {
  adapter: string;
  milliseconds: number;
  /** Some values of the result. */
  sample: number[];
  trace: Trace;
}

/** What is told of a captured training step beside its time. */
export interface Trace {
  commands: number;
  /** Time the host spends on a replay, and all of it, in milliseconds. */
  encodeMs: number;
  stepMs: number;
  /** Live bytes on the device after 10 and after 1,000 steps of a small net, captured and eager. */
  liveBytes: { captured: [number, number]; eager: [number, number] };
}
