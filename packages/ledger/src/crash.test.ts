import { rm } from 'node:fs/promises';
import { afterAll, expect, test } from 'vitest';
import { openLedger } from './index.ts';
import { finished, linesFrom, startChild } from './testing/child.ts';
import { temporaryFolder } from './testing/run.ts';

const folder = await temporaryFolder();
afterAll(() => rm(folder, { recursive: true, force: true }));

interface State {
  erasures: [string, string][];
  stages: string[];
  stale: number;
  lost: string[];
  gone: number[];
  claimed: number[];
  counts: [number, number];
}

interface Line {
  state?: State;
  published?: string;
  erased?: string;
  record?: number;
  acknowledged?: string;
}

/** What the killed processes were told. */
const told = {
  published: new Set<string>(),
  erased: new Map<string, number>(),
  acknowledged: new Set<string>(),
};

function check(state: State, total: number): void {
  const erasures = new Map(state.erasures);
  for (const stage of told.published) expect(state.stages).toContain(stage);
  for (const [id, record] of told.erased) {
    expect(erasures.has(id)).toBe(true);
    expect(state.gone).toContain(record);
  }
  for (const id of told.acknowledged) expect(erasures.get(id)).toBe('completed');
  // Nothing half done: a record that went has its commitment and its erasure, and no active stage has seen it.
  expect(state.claimed).toEqual(state.gone);
  expect(state.gone).toHaveLength(state.erasures.length);
  expect(state.counts).toEqual([total - state.gone.length, state.gone.length]);
  expect([state.stale, state.lost]).toEqual([0, []]);
}

test('killed at any moment, it loses nothing it confirmed and keeps nothing by halves', {
  timeout: 400_000,
}, async () => {
  let random = 12345;
  const kills = { starting: 0, working: 0 };
  for (let round = 0; round < 21; round++) {
    random = (random * 1103515245 + 12345) % 2 ** 31;
    const child = startChild('crash-child.ts', [folder]);
    const end = finished(child);
    // Every seventh is killed while it starts (the first of them while it creates the database); the others some steps and a
    // moment into their work, counted in steps because a busy machine's milliseconds hold anything from none to dozens.
    const starting = round % 7 === 0;
    if (!starting) await linesFrom(child, 1 + ((random >> 8) % 14));
    await new Promise((resolve) => setTimeout(resolve, starting ? 100 + (random % 900) : random % 12));
    child.kill('SIGKILL');
    const { lines, errors } = await end;
    expect(errors).toBe('');
    for (const line of lines as Line[]) {
      if (line.state !== undefined) check(line.state, 600);
      if (line.published !== undefined) told.published.add(line.published);
      if (line.erased !== undefined) told.erased.set(line.erased, line.record ?? -1);
      if (line.acknowledged !== undefined) told.acknowledged.add(line.acknowledged);
    }
    kills[starting ? 'starting' : 'working'] += 1;
  }
  expect(kills.working).toBe(18);
  expect(told.acknowledged.size).toBeGreaterThan(kills.working);
  await using ledger = await openLedger({ store: 'file:', folder });
  expect(await ledger.verifyChain()).toBeGreaterThan(told.acknowledged.size * 2);
  const kept = new Set((await ledger.activeStages()).map(({ weights }) => weights));
  await ledger.adapters.sweep(kept);
  expect(await ledger.adapters.list()).toEqual([...kept].sort());
});
