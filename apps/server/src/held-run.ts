import type { Service } from './service.ts';

export interface RunOptions {
  /** The run folder. */
  run: string;
  /** Path of s3t.config.json; only needed where the run does not exist yet. */
  config?: string | undefined;
  /** Of a run that continues texts: how many go on together, 1 to 128. Default 8. */
  textSlots?: number | undefined;
}

/** A run that is open and has been rehearsed: its first erasure and its first answer wait for nothing that could be made before. */
export interface HeldRun {
  readonly service: Service;
  /** Writes the server's address and process (default: this one) into the run's lock, so that other commands find their way here. */
  publishUrl(url: string, server?: number): Promise<void>;
  /** Lets go of the run. */
  close(): Promise<void>;
}

/** Opens a run, in this process or another. `onNotice` is told, in one line, when it is lost and when it cannot be opened again yet. */
export type HoldRun = (options: RunOptions, onNotice: (message: string) => void) => Promise<HeldRun>;
