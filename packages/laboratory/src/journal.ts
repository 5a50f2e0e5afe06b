import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { cpuUsage } from 'node:process';
import { LaboratoryError } from './errors.ts';

/** What was measured so far, one JSON object a line: whoever goes on after a stop finds it there. */
export class Journal<Line extends object> {
  readonly file: string;
  #isWhole = false;

  constructor(file: string) {
    this.file = file;
  }

  /** The lines that are there. A last one that was cut off while it was written is none, and is taken away. */
  async read(): Promise<Line[]> {
    const text = await readFile(this.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole.length < text.length) await writeFile(this.file, whole);
    this.#isWhole = true;
    return whole.split('\n').flatMap((line, at) => (line === '' ? [] : [this.#parsed(line, at + 1)]));
  }

  #parsed(line: string, number: number): Line {
    try {
      return JSON.parse(line) as Line;
    } catch {
      throw new LaboratoryError('data', `${this.file}: line ${number} is not valid JSON: take it away`);
    }
  }

  async add(...lines: Line[]): Promise<void> {
    // Behind one that was cut off it would be a part of it.
    if (!this.#isWhole) await this.read();
    await appendFile(this.file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

/** Seconds of work: by the clock, and of all cores together. On a busy machine only the second means anything. */
export interface Seconds {
  wall: number;
  cpu: number;
}

/** Starts to measure; the function tells how long it has been. The adapter's threads count too where it computes in this process. */
export function stopwatch(): () => Seconds {
  const from = { wall: performance.now(), cpu: cpuUsage() };
  return () => {
    const { user, system } = cpuUsage(from.cpu);
    return { wall: (performance.now() - from.wall) / 1e3, cpu: (user + system) / 1e6 };
  };
}

/** Runs something and tells how long it took. */
export async function timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: Seconds }> {
  const elapsed = stopwatch();
  const result = await work();
  return { result, seconds: elapsed() };
}

export function sum(times: readonly Seconds[]): Seconds {
  return {
    wall: times.reduce((total, { wall }) => total + wall, 0),
    cpu: times.reduce((total, { cpu }) => total + cpu, 0),
  };
}
