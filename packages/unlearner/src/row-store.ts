import { closeSync, openSync, read, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { UnlearnerError } from './errors.ts';

/** The values of a row as they are kept: f32, or f16 as the bits of each. */
export type Row = Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer>;

/** Rows of one length, by number: where activations are kept. */
export interface RowStore {
  /** Takes the values over. */
  write(row: number, values: Row): void;
  /** Fills `target`. */
  read(row: number, target: Row): Promise<void>;
  /** The row, where it is at hand without waiting. */
  view(row: number): Row | null;
  /** Overwrites a row with zeros. Synchronous: after an erasure was noted nothing reads it any more. */
  zero(row: number): void;
  /** Nothing is left of any row. */
  close(): void;
}

/** In memory. */
export class MemoryRows implements RowStore {
  readonly #rows: (Row | undefined)[] = [];

  write(row: number, values: Row): void {
    this.#rows[row] = values;
  }

  async read(row: number, target: Row): Promise<void> {
    target.set(this.#rows[row]!);
  }

  view(row: number): Row | null {
    return this.#rows[row] ?? null;
  }

  zero(row: number): void {
    this.#rows[row]?.fill(0);
  }

  close(): void {
    for (const values of this.#rows) values?.fill(0);
    this.#rows.length = 0;
  }
}

const readFrom = promisify(read);

/** What a file of rows is called for as long as it has a name: a process that is killed just then leaves it. */
export const KEPT_FILE: RegExp = /^kept-activations-\d+\.tmp$/;

/**
 * In a file of a folder that loses its name as soon as it is open: when the process ends, however it ends, the system takes it
 * back, and no other program finds it.
 */
export class DiskRows implements RowStore {
  readonly #path: string;
  readonly #file: number;
  readonly #rowBytes: number;
  #isClosed = false;

  /** @throws UnlearnerError `store` naming the file */
  constructor(folder: string, rowBytes: number) {
    this.#path = join(folder, `kept-activations-${process.pid}.tmp`);
    this.#rowBytes = rowBytes;
    this.#file = this.#try(() => {
      const file = openSync(this.#path, 'w+', 0o600);
      unlinkSync(this.#path);
      return file;
    });
  }

  write(row: number, values: Row): void {
    this.#write(row, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  async read(row: number, target: Row): Promise<void> {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await readFrom(
        this.#file,
        bytes,
        done,
        bytes.length - done,
        row * this.#rowBytes + done,
      );
      if (bytesRead === 0)
        throw new UnlearnerError('store', `${this.#path}: is shorter than what was written`);
      done += bytesRead;
    }
  }

  view(): null {
    return null;
  }

  zero(row: number): void {
    this.#write(row, new Uint8Array(this.#rowBytes));
  }

  close(): void {
    // Twice would close whatever the system has given the number to since.
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file);
  }

  #write(row: number, bytes: Uint8Array): void {
    this.#try(() => {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.#file, bytes, done, bytes.length - done, row * this.#rowBytes + done);
    });
  }

  #try<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new UnlearnerError('store', `${this.#path}: kept activations cannot be written (${code})`, {
        cause,
      });
    }
  }
}
