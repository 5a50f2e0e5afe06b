import { duration } from './format.ts';
import { paint, widthOf } from './style.ts';

/** Where work stands. */
export interface ProgressState {
  label: string;
  done: number;
  total: number;
  /** Anything else worth a few characters. */
  note?: string;
}

/** What progress is written to: stderr, or a stand-in. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

const BAR_WIDTH = 24;
const REDRAW_MS = 100;
const LINE_EVERY_MS = 15_000;
/** The time left is judged by the pace of the last half minute, and not before a few seconds of it: the first steps compile kernels. */
const PACE_WINDOW_MS = 30_000;
const PACE_MIN_MS = 3000;

/** Shows how far work is: a bar that redraws itself in a terminal, a plain line now and then elsewhere (logs, CI). */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #terminal: boolean;
  readonly #samples: { at: number; done: number }[] = [];
  #lastWrite = Number.NEGATIVE_INFINITY;
  #drawn = false;

  constructor(stream: ProgressStream = process.stderr, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
    this.#terminal = stream.isTTY === true && process.env.TERM !== 'dumb';
    this.#lastWrite = this.#terminal ? Number.NEGATIVE_INFINITY : now();
  }

  update(state: ProgressState): void {
    const at = this.#now();
    const last = this.#samples.at(-1)?.done ?? 0;
    if (state.done < last) this.#samples.length = 0;
    // What is done before the first step says nothing about the pace.
    if (state.done > 0 && state.done !== last) this.#samples.push({ at, done: state.done });
    while (this.#samples.length > 2 && at - this.#samples[0]!.at > PACE_WINDOW_MS) this.#samples.shift();
    if (at - this.#lastWrite < (this.#terminal ? REDRAW_MS : LINE_EVERY_MS) && state.done < state.total)
      return;
    this.#lastWrite = at;
    const left = this.#secondsLeft(state);
    if (this.#terminal) this.#draw(renderBar(state, left, this.#stream));
    else if (state.done < state.total) this.#stream.write(`${renderLine(state, left)}\n`);
  }

  /** Writes a line that stays, above the bar. */
  log(line: string): void {
    this.clear();
    this.#stream.write(`${line}\n`);
    this.#lastWrite = this.#terminal ? Number.NEGATIVE_INFINITY : this.#now();
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
  }

  #draw(line: string): void {
    this.#stream.write(`\r${line}\x1b[K`);
    this.#drawn = true;
  }

  #secondsLeft({ done, total }: ProgressState): number | null {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (!first || !last || done >= total || last.at - first.at < PACE_MIN_MS) return null;
    return ((last.at - first.at) / (last.done - first.done) / 1000) * (total - done);
  }
}

/** `train ━━━━━━━━╌╌╌╌╌╌╌╌  42 %  stage 2 of 12  1 min 05 s left`, cut to the width of the terminal. */
export function renderBar(state: ProgressState, secondsLeft: number | null, stream: ProgressStream): string {
  const { label, note } = state;
  const share = shareOf(state);
  const filled = Math.round(share * BAR_WIDTH);
  const bar =
    paint('green', '━'.repeat(filled), stream) + paint('dim', '╌'.repeat(BAR_WIDTH - filled), stream);
  const parts = [`${label} ${bar} ${percentOf(share).padStart(4)}`];
  const columns = (stream.columns ?? 80) - 1;
  // The narrower the terminal, the less is said: first the note goes, then the time, then the bar.
  const more = [secondsLeft === null ? '' : `${duration(secondsLeft)} left`, note ?? ''].filter(Boolean);
  for (const text of more) {
    if (widthOf([...parts, text].join('  ')) <= columns) parts.push(text);
  }
  const line = parts.join('  ');
  return widthOf(line) <= columns ? line : `${label} ${percentOf(share)}`.slice(0, Math.max(0, columns));
}

function renderLine(state: ProgressState, secondsLeft: number | null): string {
  const left = secondsLeft === null ? undefined : `${duration(secondsLeft)} left`;
  return [`${state.label} ${percentOf(shareOf(state))}`, left, state.note].filter(Boolean).join(', ');
}

const shareOf = ({ done, total }: ProgressState): number => (total > 0 ? Math.min(1, done / total) : 1);

/** Rounded down: 100 % means done. */
const percentOf = (share: number): string => `${Math.floor(share * 100)} %`;
