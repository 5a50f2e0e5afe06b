/** Anything this package refuses: arguments outside their range, values that have no canonical form. The message is one line. */
export class AlgorithmError extends Error {
  override name = 'AlgorithmError';
}

/** Throws an AlgorithmError naming `name` unless `value` is an integer in `[minimum, maximum]`. */
export function requireInteger(
  name: string,
  value: number,
  minimum: number,
  maximum: number = Number.MAX_SAFE_INTEGER,
): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return;
  const range =
    maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  throw new AlgorithmError(`${name} must be an integer ${range}, got ${value}`);
}

/** Throws an AlgorithmError naming `name` unless `value` is a finite number of at least `minimum` and at most `maximum`. */
export function requireNumber(
  name: string,
  value: number,
  minimum: number,
  maximum: number = Infinity,
): void {
  if (Number.isFinite(value) && value >= minimum && value <= maximum) return;
  const range = maximum === Infinity ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  throw new AlgorithmError(`${name} must be a number ${range}, got ${value}`);
}

/** Throws an AlgorithmError naming `name` unless `value` is a finite number above 0. */
export function requirePositive(name: string, value: number): void {
  if (Number.isFinite(value) && value > 0) return;
  throw new AlgorithmError(`${name} must be a number above 0, got ${value}`);
}
