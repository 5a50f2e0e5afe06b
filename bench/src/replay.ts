import { execFileSync } from 'node:child_process';
import type { Trace } from './engine.ts';
import type { EngineProcess } from './engine-process.ts';
import type { Row } from './measure.ts';

/** What the time of a training step consists of, how long it takes to the first, and what 1,000 leave behind. */
export interface Replay extends Trace {
  /** Milliseconds from the start of a process to the end of its first step, kernels compiled by an earlier process. */
  startMs: number;
}

export async function measureReplay(engine: EngineProcess): Promise<Replay> {
  const { trace } = await engine.ask({ kind: 'trace' });
  const starts = Array.from({ length: 3 }, firstStep);
  return { ...trace!, startMs: Math.min(...starts.slice(1)) };
}

function firstStep(): number {
  const child = new URL('./start-child.ts', import.meta.url).pathname;
  return Number(execFileSync(process.execPath, [child], { stdio: ['ignore', 'pipe', 'ignore'] }));
}

export function replayRows({ name: engine, adapter }: EngineProcess, replay: Replay): Row[] {
  const { commands, encodeMs, stepMs, startMs } = replay;
  const row = (shape: string, note: string, ms: number): Row => ({
    bench: 'replay',
    shape,
    note,
    engine,
    adapter,
    ms,
    bestMs: ms,
    gflops: null,
    gbs: null,
    rounds: 1,
  });
  return [
    row('vit encode', `the host's part of a replay of ${commands} commands`, encodeMs),
    row('vit device', 'the rest of it', stepMs - encodeMs),
    row('vit start', 'process start to the end of the first step, warm shader cache', startMs),
  ];
}

export function replayLines({ commands, encodeMs, stepMs, startMs, liveBytes }: Replay): string[] {
  const each = ((1000 * encodeMs) / commands).toFixed(1);
  const bytes = ([first, last]: [number, number]) =>
    first === last
      ? `${last} bytes after 10 and after 1,000 steps`
      : `${first} bytes after 10 steps, ${last} after 1,000`;
  return [
    `- A replayed ViT step with AdamW: ${commands} commands, ${encodeMs.toFixed(1)} ms on the host (${each} us a command), ${(stepMs - encodeMs).toFixed(0)} ms on the device.`,
    `- From the start of a process to the end of its first such step, warm shader cache: ${(startMs / 1000).toFixed(1)} s.`,
    `- Live bytes of a small net, textures included: captured ${bytes(liveBytes.captured)}, eager ${bytes(liveBytes.eager)}.`,
  ];
}
