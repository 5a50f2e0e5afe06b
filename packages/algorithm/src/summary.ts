/** What was measured over independent trials. */
export interface Summary {
  mean: number;
  /** Sample standard deviation of one trial. */
  std: number;
  trials: number;
}

/** Runs the trials 0 to `trials` - 1 and sums up what they yield (the deviation in Welford's way: no cancellation, whatever the values). */
export function summary(trials: number, run: (trial: number) => number): Summary {
  let sum = 0;
  let mean = 0;
  let squares = 0;
  for (let trial = 0; trial < trials; trial++) {
    const value = run(trial);
    sum += value;
    const off = value - mean;
    mean += off / (trial + 1);
    squares += off * (value - mean);
  }
  return { mean: sum / trials, std: trials > 1 ? Math.sqrt(squares / (trials - 1)) : 0, trials };
}
