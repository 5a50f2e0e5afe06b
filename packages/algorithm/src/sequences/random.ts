import { keyFromSeed, PhiloxStream } from '../philox.ts';
import { DEFAULT_SEED, type SequenceOptions, type SequenceStrategy } from './strategy.ts';

/** The word that keeps this use of a seed apart from others. */
const RANDOM = 3;

/** Orders drawn uniformly and independently; one that was drawn before is drawn again. A larger budget only adds sequences. */
export const random: SequenceStrategy = {
  name: 'random',
  draws: true,
  select({ slices, budget, seed = DEFAULT_SEED }: SequenceOptions): number[][] {
    const stream = new PhiloxStream(keyFromSeed(seed), [0, RANDOM]);
    const chosen = new Map<string, number[]>();
    while (chosen.size < budget) {
      const order = stream.shuffle(Array.from({ length: slices }, (_, slice) => slice));
      // A Map keeps the first place of an order that comes again.
      chosen.set(String(order), order);
    }
    return [...chosen.values()];
  },
};
