import { keyFromSeed, PhiloxStream } from '../philox.ts';
import { DEFAULT_SEED, type SequenceOptions, type SequenceStrategy, uniformPrior } from './strategy.ts';

/** The word that keeps this use of a seed apart from others. */
const CONDITIONAL = 4;
/** So many orders in a row that were drawn before, and the rest are drawn uniformly. */
const PATIENCE = 1000;

/**
 * Conditional sampling, for a known prior: the slices of an order are drawn one by one without replacement, slice s with weight
 * 1 - p_s; an order that was drawn before is drawn again. A larger budget only adds sequences.
 *
 * Near the full budget with a steep prior the orders that are left may be as good as never drawn: after 1,000 repetitions in a
 * row, all slices weigh the same from there on.
 */
export const conditional: SequenceStrategy = {
  name: 'conditional',
  draws: true,
  select({ slices, budget, prior = uniformPrior(slices), seed = DEFAULT_SEED }: SequenceOptions): number[][] {
    const stream = new PhiloxStream(keyFromSeed(seed), [0, CONDITIONAL]);
    let weights = prior.map((probability) => Math.max(0, 1 - probability));
    const chosen = new Map<string, number[]>();
    let repeated = 0;
    while (chosen.size < budget) {
      const order = draw(weights, stream);
      const name = String(order);
      repeated = chosen.has(name) ? repeated + 1 : 0;
      chosen.set(name, order);
      if (repeated === PATIENCE) weights = weights.map(() => 1);
    }
    return [...chosen.values()];
  },
};

function draw(weights: readonly number[], stream: PhiloxStream): number[] {
  const left = Array.from(weights.keys());
  const order: number[] = [];
  while (left.length > 0) {
    const total = left.reduce((sum, slice) => sum + weights[slice]!, 0);
    let target = stream.float() * total;
    // The last one that weighs anything takes what rounding leaves; where nothing weighs anything, the last of all.
    let index = left.findIndex((slice) => {
      target -= weights[slice]!;
      return target < 0;
    });
    if (index < 0)
      index = Math.max(
        left.findLastIndex((slice) => weights[slice]! > 0),
        0,
      );
    order.push(...left.splice(index, 1));
  }
  return order;
}
