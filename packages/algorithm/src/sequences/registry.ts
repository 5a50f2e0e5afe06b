import { all } from './all.ts';
import { cyclic } from './cyclic.ts';
import type { SequenceStrategy } from './strategy.ts';

/** Every strategy there is, by name. */
export const sequenceStrategies: ReadonlyMap<string, SequenceStrategy> = new Map(
  [cyclic, all].map((strategy) => [strategy.name, strategy]),
);
