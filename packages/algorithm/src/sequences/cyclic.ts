import type { SequenceOptions, SequenceStrategy } from './strategy.ts';

/**
 * Iterative cyclic rotation (Algorithm 1), for a uniform prior. Sequence number q is q written with the digits L, L-1, L-2, ..., lowest
 * first; digit i says by how much the suffix after i kept slices is rotated to the left. So the first L are the rotations of 0 .. L-1,
 * the next L(L-1) - L keep a prefix of length 1 and rotate the rest, then prefixes of length 2, and so on, taking turns over the prefixes.
 *
 * Every q below L! gives another permutation. A larger budget only adds sequences: what was trained for a smaller one stays useful.
 */
export const cyclic: SequenceStrategy = {
  name: 'cyclic',
  draws: false,
  select({ slices, budget }: SequenceOptions): number[][] {
    return Array.from({ length: budget }, (_, number) => sequence(number, slices));
  },
};

function sequence(number: number, slices: number): number[] {
  let rest = number;
  let suffix = Array.from({ length: slices }, (_, slice) => slice);
  const order: number[] = [];
  while (suffix.length > 0) {
    const turn = rest % suffix.length;
    rest = Math.floor(rest / suffix.length);
    order.push(suffix[turn]!);
    suffix = [...suffix.slice(turn + 1), ...suffix.slice(0, turn)];
  }
  return order;
}
