import type { ImageDecoder } from '@s3t/data';
import type { Input } from '@s3t/unlearner';
import { Problem } from './problem.ts';

/** Pixels that the files of one request may have together: a small file can say that it is huge. */
const MAX_PIXELS = 2 ** 24;
/** A request whose files have no more together waits for nobody: they take less memory than its body may. */
const SMALL = 2 ** 20;
/** Pixels of the files of all larger requests, from before they are decoded until their requests are answered. */
const MOST_AT_ONCE = 2 ** 26;

/** How the formats that are decoded begin, in hex. Nothing else reaches the decoder: it knows formats that load other files. */
const MAGIC = /^(89504e470d0a1a0a|ffd8ff|47494638(37|39)61|52494646.{8}57454250)/;

/** What a request is about. Its memory counts until it is disposed: once the request is answered. */
export interface RequestInputs extends Disposable {
  inputs: Input[];
}

/** Inputs whose memory a request's body bounds. */
export function plainInputs(inputs: Input[]): RequestInputs {
  return { inputs, [Symbol.dispose]: () => {} };
}

/** Decodes the image files of requests, and no more of them at a time than there is to be memory for. */
export class ImageFiles {
  readonly #decoder: ImageDecoder;
  #free = MOST_AT_ONCE;
  /** Who waits for room, first come, first served. */
  readonly #waiting: (() => void)[] = [];

  constructor(decoder: ImageDecoder) {
    this.#decoder = decoder;
  }

  /**
   * Decodes PNG, JPEG, GIF (first frame) and WebP files. Throws a 400 that names the file by `pathOf` its place.
   * @param gone aborted when nobody waits any more
   */
  async decode(
    files: readonly Uint8Array[],
    pathOf: (index: number) => string,
    gone: AbortSignal,
  ): Promise<RequestInputs> {
    const inputs: Input[] = [];
    let pixels = 0;
    let most = SMALL;
    let held = 0;
    const dispose = () => {
      this.#give(held);
      held = 0;
    };
    try {
      // One after the other: the budget is theirs together.
      for (const [index, file] of files.entries()) {
        const path = pathOf(index);
        if (!MAGIC.test(beginning(file))) throw refusal(path);
        let image = await this.#decoded(file, path, most - pixels);
        if (image === null && most === SMALL) {
          // How large it is only the decoder knows: room for all that it may be.
          await this.#take();
          held = MAX_PIXELS;
          most = MAX_PIXELS;
          if (gone.aborted) throw new Problem(400, 'gone', 'the client went away');
          image = await this.#decoded(file, path, most - pixels);
        }
        if (image === null) throw refusal(path);
        pixels += image.width * image.height;
        inputs.push({ image });
      }
    } catch (error) {
      dispose();
      throw error;
    }
    if (held > 0) {
      this.#give(held - pixels);
      held = pixels;
    }
    return { inputs, [Symbol.dispose]: dispose };
  }

  /** Null for what is no image, or has more pixels. */
  async #decoded(file: Uint8Array, path: string, pixels: number) {
    // To decoders no pixels at all mean no limit.
    if (pixels === 0) return null;
    return this.#decoder.decode(file, { file: path }, pixels).catch(() => null);
  }

  #take(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#give(0);
    });
  }

  #give(pixels: number): void {
    this.#free += pixels;
    while (this.#waiting.length > 0 && this.#free >= MAX_PIXELS) {
      this.#free -= MAX_PIXELS;
      this.#waiting.shift()!();
    }
  }
}

function beginning(file: Uint8Array): string {
  return Array.from(file.subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function refusal(path: string): Problem {
  const message = `expected a PNG, JPEG, GIF or WebP file, and at most ${MAX_PIXELS} pixels in all files`;
  return new Problem(400, 'invalid', message, { path });
}
