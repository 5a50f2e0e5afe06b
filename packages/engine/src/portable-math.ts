// Functions of float64 numbers made of + - * / alone, which every runtime rounds alike; Math.exp, Math.pow, Math.cos and
// their like are the runtime's own affair. Relative errors are around 1e-15, absolute ones of sine and cosine too.

// ln 2 and pi / 2 in parts whose first ones have zeros at the end: small whole multiples of these are exact (fdlibm).
const LN2_PARTS = [0.6931471803691238, 1.9082149292705877e-10] as const;
const QUARTER_PARTS = [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21] as const;

/** The natural logarithm of a positive number. */
export function logarithm(x: number): number {
  let exponent = 0;
  let mantissa = x;
  for (; mantissa > 1.5; mantissa /= 2) exponent++;
  for (; mantissa < 0.75; mantissa *= 2) exponent--;
  // ln m = 2 artanh((m - 1) / (m + 1)), |ratio| <= 0.2
  const ratio = (mantissa - 1) / (mantissa + 1);
  let sum = 0;
  for (let n = 25; n >= 1; n -= 2) sum = sum * ratio * ratio + 1 / n;
  return exponent * Math.LN2 + 2 * ratio * sum;
}

/** e^x. */
export function exponential(x: number): number {
  const doublings = Math.round(x / Math.LN2);
  const rest = x - doublings * LN2_PARTS[0] - doublings * LN2_PARTS[1];
  let sum = 1;
  for (let n = 18; n >= 1; n--) sum = 1 + (sum * rest) / n;
  for (let i = 0; i < doublings; i++) sum *= 2;
  for (let i = 0; i > doublings; i--) sum /= 2;
  return sum;
}

/** Cosine and sine of an angle of at most 2^20 radians. */
export function cosineAndSine(angle: number): [cosine: number, sine: number] {
  const quarters = Math.round(angle / (QUARTER_PARTS[0] + QUARTER_PARTS[1]));
  const rest = QUARTER_PARTS.reduce((left, part) => left - quarters * part, angle);
  const square = rest * rest;
  let cosine = 1;
  let sine = 1;
  for (let n = 20; n >= 2; n -= 2) {
    cosine = 1 - (cosine * square) / (n * (n - 1));
    sine = 1 - (sine * square) / (n * (n + 1));
  }
  sine *= rest;
  const turned = [
    [cosine, sine],
    [-sine, cosine],
    [-cosine, -sine],
    [sine, -cosine],
  ] as const;
  const [c, s] = turned[((quarters % 4) + 4) % 4]!;
  return [c, s];
}
