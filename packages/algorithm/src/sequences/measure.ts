import { AlgorithmError, requireInteger } from '../errors.ts';

/**
 * How deep a sequence, or the beginning of one, is expected to survive (Eq. 24):
 * `sum_{i=1..|o|} i (1 - sum_{j<=i} p_{o_j})^t` with `t` = `lookahead` deletions, each hitting slice s with probability `prior[s]`.
 *
 * @throws AlgorithmError if the sequence names a slice that the prior lacks, or `lookahead` is no integer of at least 1.
 */
export function score(sequence: readonly number[], prior: readonly number[], lookahead: number): number {
  requireInteger('lookahead', lookahead, 1);
  let sum = 0;
  for (let length = 1; length <= sequence.length; length++) {
    sum += scoreTerm(sequence.slice(0, length), prior, lookahead);
  }
  return sum;
}

/**
 * What the last position of a prefix adds to its {@link score}: `i (1 - sum_{j<=i} p_{o_j})^t` with i its length. The same for every
 * order of the same slices, to the last bit.
 */
export function scoreTerm(prefix: readonly number[], prior: readonly number[], lookahead: number): number {
  let hit = 0;
  for (const slice of prefix.toSorted((a, b) => a - b)) {
    const probability = prior[slice];
    if (probability === undefined) throw new AlgorithmError(`the prior has no slice ${slice}`);
    hit += probability;
  }
  // Rounding may push a whole prior's sum a little above 1.
  return prefix.length * power(Math.max(0, 1 - hit), lookahead);
}

/** By squaring: Math.pow may round differently in another runtime, and scores decide which sequences are chosen. */
function power(base: number, exponent: number): number {
  let result = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= square;
    square *= square;
  }
  return result;
}

/**
 * The diversity of sequences of equal length: the mean over all pairs of the number of positions that differ, from 0 to their length. It
 * is 0 where there is no pair. Counts slices per position instead of comparing pairs, so it is linear in the number of sequences.
 *
 * @throws AlgorithmError if the lengths differ.
 */
export function averageEditDistance(sequences: readonly (readonly number[])[]): number {
  const count = sequences.length;
  const length = sequences[0]?.length ?? 0;
  if (sequences.some((sequence) => sequence.length !== length)) {
    throw new AlgorithmError('edit distance needs sequences of equal length');
  }
  if (count < 2) return 0;
  const pairs = (count * (count - 1)) / 2;
  let differing = 0;
  for (let position = 0; position < length; position++) {
    const holders = new Map<number, number>();
    for (const sequence of sequences) {
      const slice = sequence[position]!;
      holders.set(slice, (holders.get(slice) ?? 0) + 1);
    }
    let alike = 0;
    for (const n of holders.values()) alike += (n * (n - 1)) / 2;
    differing += pairs - alike;
  }
  return differing / pairs;
}
