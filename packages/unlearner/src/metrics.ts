// How good answers are: pure functions of what was expected and what was said, as scikit-learn and SciPy define them.

type Numbers = ArrayLike<number>;

/** Part of the predicted classes that are the expected ones, 0 to 1. */
export function accuracy(predicted: Numbers, expected: Numbers): number {
  const count = sameLength(predicted, expected);
  let right = 0;
  for (let i = 0; i < count; i++) if (predicted[i] === expected[i]) right++;
  return right / count;
}

/**
 * Matthews' correlation of predicted and expected classes, -1 to 1, for any number of classes (Gorodkin 2004, R_K). 0 where it is
 * undefined: everything expected, or everything predicted, is of one class.
 */
export function matthews(predicted: Numbers, expected: Numbers): number {
  const count = sameLength(predicted, expected);
  const said = tally(predicted);
  const was = tally(expected);
  let right = 0;
  for (let i = 0; i < count; i++) if (predicted[i] === expected[i]) right++;
  const products = (a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>) =>
    [...a].reduce((sum, [value, times]) => sum + times * (b.get(value) ?? 0), 0);
  const spread = (of: ReadonlyMap<number, number>) => count * count - products(of, of);
  const norm = Math.sqrt(spread(said)) * Math.sqrt(spread(was));
  return norm === 0 ? 0 : (count * right - products(said, was)) / norm;
}

/**
 * The harmonic mean of precision and recall, 0 to 1: of two classes that of class 1, of more the mean over classes (macro). A class
 * that is neither expected nor predicted counts 0.
 * @param classes how many there are
 */
export function f1(predicted: Numbers, expected: Numbers, classes: number): number {
  const count = sameLength(predicted, expected);
  const of = (positive: number) => {
    let right = 0;
    let named = 0;
    for (let i = 0; i < count; i++) {
      if (predicted[i] === positive) named++;
      if (expected[i] === positive) named++;
      if (predicted[i] === positive && expected[i] === positive) right++;
    }
    return named === 0 ? 0 : (2 * right) / named;
  };
  if (classes <= 2) return of(1);
  let sum = 0;
  for (let positive = 0; positive < classes; positive++) sum += of(positive);
  return sum / classes;
}

/** Pearson's correlation, -1 to 1; null where it is undefined, because one side does not vary. */
export function pearson(predicted: Numbers, expected: Numbers): number | null {
  const count = sameLength(predicted, expected);
  const centred = (values: Numbers) => {
    const mean = sumOf(values) / count;
    const from = Float64Array.from(values, (value) => value - mean);
    // Squares of very large or very small numbers leave the range of floats.
    const largest = from.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return from.map((value) => value / largest);
  };
  const [a, b] = [centred(predicted), centred(expected)];
  // Asked of the values: a mean that is rounded leaves a spread where there is none.
  if (isConstant(predicted) || isConstant(expected)) return null;
  const products = (left: Float64Array, right: Float64Array) =>
    left.reduce((sum, value, i) => sum + value * right[i]!, 0);
  const norm = Math.sqrt(products(a, a)) * Math.sqrt(products(b, b));
  return norm === 0 ? null : Math.max(-1, Math.min(1, products(a, b) / norm));
}

/** Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs. Null where it is undefined. */
export function spearman(predicted: Numbers, expected: Numbers): number | null {
  sameLength(predicted, expected);
  return pearson(ranks(predicted), ranks(expected));
}

export function meanSquaredError(predicted: Numbers, expected: Numbers): number {
  const count = sameLength(predicted, expected);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (predicted[i]! - expected[i]!) ** 2;
  return sum / count;
}

function ranks(values: Numbers): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const found = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) found[order[i]!] = (from + to - 1) / 2;
    from = to;
  }
  return found;
}

function tally(values: Numbers): Map<number, number> {
  const times = new Map<number, number>();
  for (let i = 0; i < values.length; i++) times.set(values[i]!, (times.get(values[i]!) ?? 0) + 1);
  return times;
}

function isConstant(values: Numbers): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}

function sumOf(values: Numbers): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

function sameLength(predicted: Numbers, expected: Numbers): number {
  if (predicted.length !== expected.length || expected.length === 0)
    throw new RangeError(`${predicted.length} answers cannot be held against ${expected.length}`);
  return expected.length;
}
