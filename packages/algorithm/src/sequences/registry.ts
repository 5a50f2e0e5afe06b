import { all } from './all.ts';
import { bms } from './bms.ts';
import { conditional } from './conditional.ts';
import { cyclic } from './cyclic.ts';
import { random } from './random.ts';
import type { SequenceStrategy } from './strategy.ts';

/** Every strategy there is, by name. */
export const sequenceStrategies: ReadonlyMap<string, SequenceStrategy> = new Map(
  [cyclic, bms, conditional, random, all].map((strategy) => [strategy.name, strategy]),
);
