import { keyFromSeed, PhiloxStream, survivingDepth } from '@s3t/algorithm';

/** The word that keeps this use of a seed apart from others. */
const STREAM = 11;

/** A way to unlearn, by the sequences it has trained in every shard: SISA has one. */
export interface Method {
  name: string;
  sequences: readonly (readonly number[])[];
}

export interface StreamOptions {
  shards: number;
  slices: number;
  /** Of every record its place: `shard * slices + slice`. */
  cells: readonly number[];
  methods: readonly Method[];
  /** Orders in which records are deleted: all methods face the same ones. */
  streams: number;
  seed: number;
  /** How good an ensemble is: for each shard the slices of the prefix it serves, in order; null where it serves nothing. */
  score: (served: readonly (readonly number[] | null)[]) => number | Promise<number>;
  /** How good nothing is: what is counted once no shard serves anything. */
  nothing: number;
}

/** How a method fares as records are deleted, over all streams. */
export interface Performance {
  name: string;
  /** [deletions]: mean over the streams, from none deleted to the last at which any method served something. */
  mean: number[];
  /** Its standard error. */
  error: number[];
  /** [deletions]: mean depth served, over shards and streams. */
  depth: number[];
  /** Deletions until no shard served anything: what Lemma 1 expects. */
  deletions: { mean: number; std: number };
}

/**
 * Deletes records uniformly at random until nothing is left, and scores the ensemble of best surviving prefixes after every deletion
 * (section 5 of the paper). Nothing is trained: which prefix a shard serves follows from which slices were hit.
 */
export async function performanceOverDeletions(o: StreamOptions): Promise<Performance[]> {
  const known = new Map<string, Promise<number>>();
  const score = (served: readonly (readonly number[] | null)[]): Promise<number> => {
    if (served.every((prefix) => prefix === null)) return Promise.resolve(o.nothing);
    const key = served.map((prefix) => prefix?.join() ?? '-').join('/');
    const found = known.get(key) ?? Promise.resolve(o.score(served));
    known.set(key, found);
    return found;
  };
  const traces = await Promise.all(
    o.methods.map(async ({ sequences }) => {
      const own: Trace[] = [];
      for (let stream = 0; stream < o.streams; stream++) own.push(await follow(o, sequences, stream, score));
      return own;
    }),
  );
  const length = Math.max(...traces.flat().map(({ scores }) => scores.length));
  return o.methods.map(({ name }, method) => {
    const own = traces[method]!;
    const at = (values: (trace: Trace) => readonly number[], i: number, rest: number) =>
      own.map((trace) => values(trace)[i] ?? rest);
    const each = Array.from({ length }, (_, i) => spread(at(({ scores }) => scores, i, o.nothing)));
    return {
      name,
      mean: each.map(({ mean }) => mean),
      error: each.map(({ std }) => std / Math.sqrt(o.streams)),
      depth: Array.from({ length }, (_, i) => spread(at(({ depths }) => depths, i, 0)).mean),
      deletions: spread(own.map(({ scores }) => scores.length - 1)),
    };
  });
}

/** The order in which a stream deletes records: a permutation of their numbers. */
export function deletionOrder(records: number, stream: number, seed: number): number[] {
  const numbers = Array.from({ length: records }, (_, record) => record);
  return new PhiloxStream(keyFromSeed(seed), [stream, STREAM]).shuffle(numbers);
}

/** [deletions], until nothing is served. */
interface Trace {
  scores: number[];
  depths: number[];
}

async function follow(
  { shards, slices, cells, seed }: StreamOptions,
  sequences: readonly (readonly number[])[],
  stream: number,
  score: (served: readonly (readonly number[] | null)[]) => Promise<number>,
): Promise<Trace> {
  const order = deletionOrder(cells.length, stream, seed);
  const hit = Array.from({ length: shards }, () => new Set<number>());
  const served = hit.map((erased) => bestPrefix(sequences, erased));
  const trace: Trace = { scores: [], depths: [] };
  const note = async (): Promise<boolean> => {
    trace.scores.push(await score(served));
    trace.depths.push(served.reduce((sum, prefix) => sum + (prefix?.length ?? 0), 0) / shards);
    return served.some((prefix) => prefix !== null);
  };
  let isServing = await note();
  for (const record of order) {
    if (!isServing) break;
    const cell = cells[record]!;
    const shard = Math.floor(cell / slices);
    hit[shard]!.add(cell % slices);
    served[shard] = bestPrefix(sequences, hit[shard]!);
    isServing = await note();
  }
  return trace;
}

/** The longest prefix that has not learnt from the erased slices, of the lowest sequence among equals (as servedStacks); null for none. */
export function bestPrefix(
  sequences: readonly (readonly number[])[],
  erased: ReadonlySet<number>,
): readonly number[] | null {
  let best: readonly number[] | null = null;
  for (const sequence of sequences) {
    const depth = survivingDepth(sequence, erased);
    if (depth > (best?.length ?? 0)) best = sequence.slice(0, depth);
  }
  return best;
}

/** Mean and sample standard deviation. */
function spread(values: readonly number[]): { mean: number; std: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}
