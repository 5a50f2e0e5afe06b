import { type Comparisons, lend } from './comparisons.ts';
import type { Active } from './erasing.ts';
import { evaluate } from './evaluate.ts';
import { Mutex } from './mutex.ts';
import type { OpenedRun } from './open-run.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { RunRecords } from './run-records.ts';
import type { Serving } from './serving.ts';
import type { Evaluation } from './types.ts';

/** What would be served after an erasure. */
export interface Expectation {
  /** Null where nothing would be. */
  expected: Evaluation | null;
  /** Of each shard; 0 where it would serve nothing. */
  depths: readonly number[];
}

export interface ExpectingParts {
  opened: OpenedRun;
  serving: Serving;
  erasures: RightOfWay;
  comparisons: Comparisons;
  records: RunRecords;
  /** Ends all of it. */
  closing: AbortSignal;
}

/** Measures what would be served if fewer stages were active. */
export class Expecting {
  readonly #parts: ExpectingParts;
  /** One after the other: each takes memory of the device for its batches. */
  readonly #turns = new Mutex();

  constructor(parts: ExpectingParts) {
    this.#parts = parts;
  }

  /**
   * Call it where no stage comes or goes; measuring waits for nothing of that kind. Any erasure ends it, as its stages may be gone then: its
   * ensemble is given back before they are.
   * @param left some of the stages that are active
   * @returns what measures it; throws UnlearnerError `unavailable` when records are erased meanwhile
   */
  of(left: Active): () => Promise<Expectation> {
    const { opened, serving, erasures, comparisons, records, closing } = this.#parts;
    const { base, located } = opened;
    const { config } = located;
    const depths = new Array<number>(config.shards).fill(0);
    const next = serving.served && serving.servedOf(left.active, left.version);
    if (!next) return async () => ({ expected: null, depths });
    for (const { shard, depth } of next.depths) depths[shard] = depth;
    const end = AbortSignal.any([comparisons.signal, closing]);
    const lent = lend(next.ensemble, end);
    const source = {
      get served() {
        end.throwIfAborted();
        return next;
      },
    };
    return () =>
      this.#turns.run(async () => {
        using _lent = lent;
        try {
          const parts = { serving: source, erasures, base, config };
          return { expected: await evaluate(parts, await records.evaluation()), depths };
        } catch (error) {
          end.throwIfAborted();
          throw error;
        }
      });
  }
}
