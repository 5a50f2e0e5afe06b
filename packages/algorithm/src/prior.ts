import { AlgorithmError, requireInteger, requireNumber, requirePositive } from './errors.ts';

/**
 * Estimates how likely an erasure is to hit each slice from how many did: `(n_s + a) / (N + a L)`, with N erasures in all and `a` = `smoothing`
 * imaginary ones per slice. This is the mean of the posterior over a symmetric Dirichlet prior with concentration a; 1/2 is Krichevsky's and
 * Trofimov's choice, 1 is Laplace's. So no slice gets 0, and none at all erased makes all alike.
 *
 * The estimate goes into a configuration, by hand: it must not follow the ledger of a run that is in service, whose sequences are fixed.
 *
 * @param erasures per slice: integers of at least 0
 * @throws AlgorithmError for no slices, counts that are none, or a smoothing that is not above 0.
 */
export function estimatePrior(erasures: readonly number[], smoothing = 0.5): number[] {
  requireInteger('slices', erasures.length, 1);
  for (const [slice, count] of erasures.entries()) requireInteger(`erasures[${slice}]`, count, 0);
  requirePositive('smoothing', smoothing);
  const total = erasures.reduce((sum, count) => sum + count, 0) + smoothing * erasures.length;
  return erasures.map((count) => (count + smoothing) / total);
}

/** Records that are about as likely as each other to be erased. */
export interface LikelihoodClass {
  name: string;
  /** How large it is, in any unit that all classes share: above 0. */
  records: number;
  /** How many of all erasures it gets, in any unit that all classes share: at least 0. */
  erasures: number;
}

/**
 * Divides the slices among classes of records, so that those likely to be erased lie together in few slices: at least one each, the others
 * in proportion to the records (largest remainder, ties: the earlier class). Classes with fewer erasures per record get the lower
 * slices; equal ones keep their order.
 *
 * @returns `open`, the slices of each class, for priorAwarePlacer; and the `prior` that follows, for the strategies
 * @throws AlgorithmError if there are no classes, more of them than slices, two of one name, sizes out of range, or no erasures.
 */
export function reserveSlices(o: { slices: number; classes: readonly LikelihoodClass[] }): {
  open: Record<string, number[]>;
  prior: number[];
} {
  const { slices, classes } = o;
  requireInteger('slices', slices, 1);
  if (classes.length === 0 || classes.length > slices) {
    throw new AlgorithmError(
      `classes must be from 1 to ${slices}, as many as there are slices; got ${classes.length}`,
    );
  }
  if (new Set(classes.map(({ name }) => name)).size < classes.length) {
    throw new AlgorithmError('two classes have the same name');
  }
  for (const { name, records, erasures } of classes) {
    requirePositive(`records of ${name}`, records);
    requireNumber(`erasures of ${name}`, erasures, 0);
  }
  const allRecords = classes.reduce((sum, { records }) => sum + records, 0);
  const allErasures = classes.reduce((sum, { erasures }) => sum + erasures, 0);
  if (allErasures === 0) throw new AlgorithmError('no class has any erasures');
  const order = [...classes].sort((a, b) => a.erasures / a.records - b.erasures / b.records);
  const spare = slices - classes.length;
  const shares = order.map(({ records }) => (spare * records) / allRecords);
  const sizes = shares.map((share) => 1 + Math.floor(share));
  const byRemainder = Array.from(shares.keys()).sort((a, b) => (shares[b]! % 1) - (shares[a]! % 1) || a - b);
  const left = slices - sizes.reduce((sum, size) => sum + size, 0);
  for (const lucky of byRemainder.slice(0, left)) sizes[lucky]!++;
  const open: Record<string, number[]> = Object.create(null);
  const prior: number[] = [];
  for (const [i, { name, erasures }] of order.entries()) {
    open[name] = Array.from({ length: sizes[i]! }, (_, at) => prior.length + at);
    prior.push(...open[name].map(() => erasures / (allErasures * sizes[i]!)));
  }
  return { open, prior };
}
