import { factorial } from '../combinatorics.ts';
import { sequenceStrategies } from './registry.ts';
import { SequenceError, type SequenceOptions } from './strategy.ts';

/**
 * The sequences a strategy chooses: `budget` distinct permutations of 0 .. slices-1, the same in every shard and every run.
 *
 * @throws SequenceError naming the option at fault, the reason and the nearest valid value: no such strategy, a budget above L!, a prior
 *   that is no distribution over the slices, and whatever the strategy itself refuses.
 */
export function selectSequences(strategy: string, options: SequenceOptions): number[][] {
  const chosen = sequenceStrategies.get(strategy);
  if (chosen === undefined) {
    const known = [...sequenceStrategies.keys()].join(', ');
    throw new SequenceError('strategy', `unknown sequence strategy "${strategy}"; known: ${known}`);
  }
  const { slices, budget, prior, lookahead, seed } = options;
  checkInteger('slices', slices, 1);
  checkInteger('budget', budget, 1);
  const orders = factorial(slices);
  if (budget > orders) {
    throw new SequenceError(
      'budget',
      `budget ${budget} is more than the ${orders} orders of ${slices} slices`,
      orders,
    );
  }
  if (prior !== undefined) checkPrior(prior, slices);
  if (lookahead !== undefined) checkInteger('lookahead', lookahead, 1);
  if (seed !== undefined) checkInteger('seed', seed, 0);
  return chosen.select(options);
}

function checkInteger(option: keyof SequenceOptions, value: number, minimum: number): void {
  if (Number.isSafeInteger(value) && value >= minimum) return;
  const nearest = Math.min(Math.max(Math.round(value) || minimum, minimum), Number.MAX_SAFE_INTEGER);
  throw new SequenceError(
    option,
    `${option} must be an integer of at least ${minimum}, got ${value}`,
    nearest,
  );
}

/** Throws a SequenceError unless `prior` is a distribution over the slices. */
export function checkPrior(prior: readonly number[], slices: number): void {
  if (prior.length !== slices) {
    const reason = `prior must have one probability per slice: ${slices} of them, got ${prior.length}`;
    throw new SequenceError('prior', reason);
  }
  const negative = prior.findIndex((probability) => !(Number.isFinite(probability) && probability >= 0));
  if (negative >= 0) {
    const reason = `prior[${negative}] must be a number of at least 0, got ${prior[negative]}`;
    throw new SequenceError('prior', reason);
  }
  const sum = prior.reduce((total, probability) => total + probability, 0);
  // Probabilities typed with a few digits each do not sum to 1 exactly.
  if (Math.abs(sum - 1) <= 1e-6) return;
  throw new SequenceError(
    'prior',
    `prior must sum to 1, got ${sum}`,
    sum > 0 ? prior.map((probability) => probability / sum) : prior.map(() => 1 / slices),
  );
}
