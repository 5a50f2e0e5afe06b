import type { ProductCase } from './cases.ts';

/** An engine that multiplies matrices, as the benchmark drives it. */
export interface BenchEngine {
  /** What it runs on. */
  adapter: string;
  /** Brings the operands where the engine wants them, outside of what is timed. */
  prepare(problem: ProductCase): Promise<PreparedProduct>;
}

export interface PreparedProduct {
  /** Multiplies `times` times, and resolves when all results are there. */
  run(times: number): Promise<void>;
  /** One product, read back. */
  result(): Promise<ArrayLike<number>>;
}

export const engineNames = ['s3t', 's3t eager', 'jax-js webgpu', 'jax-js wasm', 'tfjs-webgpu'] as const;
export type EngineName = (typeof engineNames)[number];

/** What the parent asks of a child, and what it answers. */
export type Request = { kind: 'open'; engine: EngineName } | { kind: 'prepare'; index: number } | Run;
interface Run {
  kind: 'run';
  index: number;
  times: number;
}
export type Answer = { adapter?: string; milliseconds?: number } | { error: string };
