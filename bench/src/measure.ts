import { bytesOf, type Case, cases, flopsOf, shapeOf } from './cases.ts';
import { sampleFault } from './check.ts';
import type { EngineProcess } from './engine-process.ts';

/** One line of the JSON report: an engine on a shape. `ms`, `gflops` and `gbs` are null where it failed or where they make no sense. */
export interface Row {
  bench: string;
  shape: string;
  note: string;
  engine: string;
  adapter: string;
  /** Median over the rounds, of doing it once. */
  ms: number | null;
  /** The fastest round. */
  bestMs: number | null;
  gflops: number | null;
  /** GB/s of what must at least be read and written. */
  gbs: number | null;
  rounds: number;
  error?: string;
}

/** A round of one engine takes about this long, so that the clock and the last wait do not matter. */
const ROUND_MS = 60;
const MOST_TIMES = 400;
/** Of rounds longer than this two suffice, the second call among them: what disturbs a run is shorter. */
const LONG_ROUND_MS = 2000;
const LONG_ROUNDS = 2;

interface Run {
  engine: EngineProcess;
  times: number;
  ms: number[];
  error: string | null;
}

/** Times one case on every engine. Rounds are interleaved: whatever else the machine does hits all engines alike. */
export async function measure(
  engines: readonly EngineProcess[],
  index: number,
  rounds: number,
): Promise<Row[]> {
  const problem = cases[index]!;
  const runs: Run[] = engines
    .filter(({ name }) => !problem.own || name === 's3t')
    // Captured or not, a long step takes the same time.
    .filter(({ name }) => problem.work.kind !== 'step' || name !== 's3t eager')
    .map((engine) => ({ engine, times: 1, ms: [], error: engine.failure }));
  let own: readonly number[] | undefined;
  for (const run of runs) {
    await attempt(run, async () => {
      const { sample } = await run.engine.ask({ kind: 'prepare', index });
      if (run.engine.name === 's3t') own = sample;
      const fault = own && sampleFault(problem.work, own, sample!);
      if (fault) throw new Error(`wrong result: ${fault}`);
      // Rounds that do not count: what engines compile or cache on a second call, then how many fill a round.
      for (let i = 0; i < 3; i++) {
        const times = i === 0 ? 1 : run.times;
        const { milliseconds } = await run.engine.ask({ kind: 'run', times });
        run.times = Math.min(MOST_TIMES, Math.max(1, Math.round(ROUND_MS / milliseconds!)));
        if (milliseconds! <= LONG_ROUND_MS) continue;
        run.ms.push(milliseconds!);
        break;
      }
    });
  }
  for (let round = 0; round < rounds; round++) {
    for (const run of runs) {
      if (run.ms.length >= LONG_ROUNDS && run.ms.some((ms) => ms > LONG_ROUND_MS)) continue;
      await attempt(run, async () => {
        const { milliseconds } = await run.engine.ask({ kind: 'run', times: run.times });
        run.ms.push(milliseconds!);
      });
    }
  }
  for (const run of runs) if (run.engine.failure === null) await run.engine.ask({ kind: 'done' });
  return runs.map((run) => rowOf(problem, run));
}

async function attempt(run: Run, work: () => Promise<void>): Promise<void> {
  if (run.error !== null) return;
  try {
    await work();
  } catch (error) {
    run.error = (error as Error).message;
  }
}

function rowOf(problem: Case, { engine, ms, error }: Run): Row {
  const median = error === null ? medianOf(ms) : null;
  const [flops, bytes] = [flopsOf(problem), bytesOf(problem)];
  const rate = (amount: number | null) => (median === null || amount === null ? null : amount / median / 1e6);
  return {
    bench: problem.bench,
    shape: shapeOf(problem),
    note: problem.note,
    engine: engine.name,
    adapter: engine.adapter,
    ms: median,
    bestMs: error === null ? Math.min(...ms) : null,
    gflops: rate(flops),
    gbs: rate(bytes),
    rounds: ms.length,
    ...(error === null ? {} : { error }),
  };
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
