import { deviceMilliseconds } from './device-time.ts';

/** A measured ratio and what it is to reach. */
export interface ModelRow {
  what: string;
  /** Of doing it once. */
  ms: number;
  /** What it is held against in the same rounds, and its time. */
  reference: string;
  referenceMs: number;
  ratio: number;
  /** Null where none was set. */
  aim: number | null;
  /** Whether the ratio should be at least the aim, or at most. */
  atLeast: boolean;
  note: string;
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** What doing something once takes, in milliseconds. */
export interface Cost {
  /** By the clock, in the fastest round. */
  ms: number;
  /** Of the device alone, the median; null where nobody tells. */
  deviceMs: number | null;
}

/** Measures works that take turns, round by round. */
export async function interleaved(
  rounds: number,
  works: readonly (() => Promise<unknown>)[],
): Promise<Cost[]> {
  const times: number[][] = works.map(() => []);
  const device: number[][] = works.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const [i, work] of works.entries()) {
      const [before, started] = [deviceMilliseconds(), performance.now()];
      await work();
      times[i]!.push(performance.now() - started);
      const after = deviceMilliseconds();
      if (before !== null && after !== null) device[i]!.push(after - before);
    }
  return works.map((_, i) => ({
    ms: Math.min(...times[i]!),
    deviceMs: device[i]!.length > 0 ? medianOf(device[i]!) : null,
  }));
}

/** How many times one cost is another: by the device's own time where it is known, which others on the machine do not change. */
export function ratioOf(cost: Cost, to: Cost): { ratio: number; by: string } {
  const clock = cost.ms / to.ms;
  if (cost.deviceMs === null || to.deviceMs === null) return { ratio: clock, by: 'by the clock' };
  return {
    ratio: cost.deviceMs / to.deviceMs,
    by: `of the device's time (${clock.toFixed(2)}x by the clock)`,
  };
}

/** As a table in Markdown. */
export function modelTable(rows: readonly ModelRow[]): string {
  const lines = rows.map((row) => [
    row.what,
    `${row.ms.toFixed(0)} ms`,
    `${row.reference}: ${row.referenceMs.toFixed(0)} ms`,
    row.ratio.toFixed(2),
    row.aim === null ? '' : `${row.atLeast ? '>=' : '<='} ${row.aim.toFixed(2)}`,
    row.note,
  ]);
  const head = ['what', 'time', 'against', 'ratio', 'aim', ''];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
