import { assign } from '../assignment.ts';
import { score, scoreTerm } from './measure.ts';
import {
  LOOKAHEAD,
  SequenceError,
  type SequenceOptions,
  type SequenceStrategy,
  uniformPrior,
} from './strategy.ts';

/** Weights are rounded to multiples of this share of the greatest: integers, so that ties are ties and not matters of rounding. */
const GRID = 2 ** -40;

/**
 * Bipartite-matching selection (Algorithm 2), for a known prior: one sequence starts at each slice, and each further position extends all
 * of them by the perfect matching of greatest total score (Eq. 24) between sequences and slices that are not yet in them.
 * No slice stands twice at a position, so the edit distance at B = L is L (Lemma 3).
 *
 * A matching is weighted by what Eq. 24 adds at its position: what came before is the same whichever slice a sequence gets, and would
 * drown the difference. Of equally good matchings, sequence 0 (the one that starts at slice 0) takes the least probable slice it
 * can, then sequence 1, and so on; of equally probable slices the one with the lowest number.
 *
 * Algorithm 2 yields L sequences. A smaller budget keeps those of highest score (ties: lowest number), in order; a larger one is refused.
 */
export const bms: SequenceStrategy = {
  name: 'bms',
  draws: false,
  select({
    slices,
    budget,
    prior = uniformPrior(slices),
    lookahead = LOOKAHEAD,
  }: SequenceOptions): number[][] {
    if (budget > slices) {
      throw new SequenceError(
        'budget',
        `strategy "bms" gives one sequence per slice: at most ${slices}, got ${budget}`,
        slices,
      );
    }
    const rising = Array.from(prior.keys()).sort((a, b) => prior[a]! - prior[b]! || a - b);
    const sequences = Array.from({ length: slices }, (_, slice) => [slice]);
    for (let position = 1; position < slices; position++) {
      const terms = sequences.map((sequence) =>
        rising.map((slice) =>
          sequence.includes(slice) ? -Infinity : scoreTerm([...sequence, slice], prior, lookahead),
        ),
      );
      const unit = Math.max(...terms.map((row) => Math.max(...row))) * GRID;
      const weights = terms.map((row) =>
        row.map((term) => (term > 0 && unit > 0 ? Math.round(term / unit) : Math.min(term, 0))),
      );
      for (const [number, column] of assign(weights).entries()) sequences[number]!.push(rising[column]!);
    }
    const scores = sequences.map((sequence) => score(sequence, prior, lookahead));
    const best = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
    return best
      .slice(0, budget)
      .sort((a, b) => a - b)
      .map((number) => sequences[number]!);
  },
};
