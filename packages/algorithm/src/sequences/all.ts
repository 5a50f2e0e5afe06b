import { factorial } from '../combinatorics.ts';
import { SequenceError, type SequenceOptions, type SequenceStrategy } from './strategy.ts';

/** 8! = 40,320 orders a shard; the paper's full budget has 4! = 24. */
const MOST_SLICES = 8;

/** Every order of the slices (the paper's full budget), lexicographically. The budget must say so: it is L!. At most 8 slices. */
export const all: SequenceStrategy = {
  name: 'all',
  draws: false,
  select({ slices, budget }: SequenceOptions): number[][] {
    if (slices > MOST_SLICES) {
      throw new SequenceError(
        'slices',
        `strategy "all" takes at most ${MOST_SLICES} slices, got ${slices}`,
        MOST_SLICES,
      );
    }
    const orders = factorial(slices);
    if (budget !== orders) {
      const reason = `strategy "all" needs a budget of ${slices}! = ${orders}, got ${budget}`;
      throw new SequenceError('budget', reason, orders);
    }
    return permutations(Array.from({ length: slices }, (_, slice) => slice));
  },
};

function permutations(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((first) =>
    permutations(items.filter((item) => item !== first)).map((rest) => [first, ...rest]),
  );
}
