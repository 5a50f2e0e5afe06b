/**
 * n! / (n-k)!, the ordered choices of k out of n, as a double: exact up to 2^53, then rounded, finally Infinity. Good for comparing with a
 * budget, which is never above 2^53. `k` from 0 to `n`.
 */
export function fallingFactorial(n: number, k: number): number {
  let product = 1;
  for (let i = 0; i < k; i++) product *= n - i;
  return product;
}

/** n!, with the precision of {@link fallingFactorial}. */
export function factorial(n: number): number {
  return fallingFactorial(n, n);
}

/** Whether `sequence` is a permutation of 0 .. slices-1. */
export function isPermutation(sequence: readonly number[], slices: number): boolean {
  return (
    sequence.length === slices &&
    new Set(sequence).size === slices &&
    sequence.every((slice) => Number.isInteger(slice) && slice >= 0 && slice < slices)
  );
}
