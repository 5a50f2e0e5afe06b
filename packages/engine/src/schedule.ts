import { EngineError } from './errors.ts';
import { cosineAndSine } from './portable-math.ts';

/** How the learning rate goes from the warm-up's end to the last step. */
export type ScheduleName = 'constant' | 'linear' | 'cosine' | 'polynomial';

export interface ScheduleOptions {
  schedule: ScheduleName;
  learningRate: number;
  /** Steps in all. */
  steps: number;
  /** The part of the steps over which the rate rises from zero, 0 to 1. */
  warmup?: number;
  /** The whole power of what is left of the way that the polynomial schedule follows, 1 or more. Default 2. */
  power?: number;
}

/** The learning rate of a step, counted from 0. Past the last step it stays where the schedule ends. @throws EngineError for options out of their range */
export function learningRateAt(step: number, options: ScheduleOptions): number {
  const { schedule, learningRate, steps, warmup = 0 } = options;
  const fail = (what: string): never => {
    throw new EngineError(`learningRateAt: ${what}`);
  };
  if (!(step >= 0)) fail(`step ${step} is not a number of 0 or more`);
  if (!(steps >= 0)) fail(`steps ${steps} are not a number of 0 or more`);
  if (!(warmup >= 0 && warmup <= 1)) fail(`warmup ${warmup} is not a part, 0 to 1`);
  const rising = Math.ceil(warmup * steps);
  if (step < rising) return (learningRate * (step + 1)) / rising;
  const progress = Math.min(1, (step - rising) / Math.max(1, steps - rising));
  if (schedule === 'constant') return learningRate;
  if (schedule === 'linear') return learningRate * (1 - progress);
  if (schedule === 'polynomial') return learningRate * wholePower(1 - progress, options.power ?? 2);
  if (schedule !== 'cosine') fail(`schedule ${schedule} is none of constant, linear, cosine and polynomial`);
  return learningRate * 0.5 * (1 + cosineAndSine(Math.PI * progress)[0]);
}

/** By repeated products, not Math.pow: every runtime rounds a product alike. */
function wholePower(base: number, power: number): number {
  if (!Number.isInteger(power) || power < 1)
    throw new EngineError(`learningRateAt: power ${power} is not a whole number of 1 or more`);
  let result = base;
  for (let i = 1; i < power; i++) result *= base;
  return result;
}
