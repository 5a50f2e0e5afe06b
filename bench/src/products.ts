import { cases, flopsOf, type ProductCase, shapeOf } from './cases.ts';
import type { EngineProcess } from './engine-process.ts';

/** One line of the JSON report: an engine on a shape. `ms` and `gflops` are null where it failed. */
export interface Row {
  bench: 'matmul';
  shape: string;
  note: string;
  engine: string;
  adapter: string;
  /** Median over the rounds, per product. */
  ms: number | null;
  /** The fastest round, per product. */
  bestMs: number | null;
  gflops: number | null;
  rounds: number;
  error?: string;
}

export interface ProductOptions {
  quick: boolean;
  rounds: number;
  onProgress: (line: string) => void;
}

/** A round of one engine takes about this long, so that the clock and the last wait do not matter. */
const ROUND_MS = 60;
const MOST_PRODUCTS = 400;

/** Times every shape on every engine. Rounds are interleaved: whatever else the machine does hits all engines alike. */
export async function benchProducts(engines: EngineProcess[], options: ProductOptions): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [index, problem] of cases.entries()) {
    if (options.quick && !problem.quick) continue;
    options.onProgress(`${shapeOf(problem)} (${problem.note})`);
    rows.push(...(await benchProduct(engines, index, problem, options.rounds)));
  }
  return rows;
}

async function benchProduct(
  engines: EngineProcess[],
  index: number,
  problem: ProductCase,
  rounds: number,
): Promise<Row[]> {
  const runs = engines.map((engine) => ({ engine, times: 1, ms: [] as number[], error: engine.failure }));
  type EngineRun = (typeof runs)[number];
  const attempt = async (run: EngineRun, work: () => Promise<void>): Promise<void> => {
    if (run.error !== null) return;
    try {
      await work();
    } catch (error) {
      run.error = (error as Error).message;
    }
  };
  for (const run of runs) {
    await attempt(run, async () => {
      await run.engine.ask({ kind: 'prepare', index });
      const { milliseconds } = await run.engine.ask({ kind: 'run', index, times: 2 });
      run.times = Math.min(MOST_PRODUCTS, Math.max(1, Math.round(ROUND_MS / milliseconds!)));
      // Two rounds that do not count: the first tells how many products a round holds when they follow one another.
      for (let i = 0; i < 2; i++) {
        const { milliseconds: each } = await run.engine.ask({ kind: 'run', index, times: run.times });
        if (i === 0) run.times = Math.min(MOST_PRODUCTS, Math.max(1, Math.round(ROUND_MS / each!)));
      }
    });
  }
  for (let round = 0; round < rounds; round++) {
    for (const run of runs) {
      await attempt(run, async () => {
        const { milliseconds } = await run.engine.ask({ kind: 'run', index, times: run.times });
        run.ms.push(milliseconds!);
      });
    }
  }
  return runs.map(({ engine, ms, error }) => {
    const median = error === null ? medianOf(ms) : null;
    return {
      bench: 'matmul',
      shape: shapeOf(problem),
      note: problem.note,
      engine: engine.name,
      adapter: engine.adapter,
      ms: median,
      bestMs: error === null ? Math.min(...ms) : null,
      gflops: median === null ? null : flopsOf(problem) / median / 1e6,
      rounds: ms.length,
      ...(error === null ? {} : { error }),
    };
  });
}

function medianOf(values: number[]): number {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
