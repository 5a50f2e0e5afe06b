/** What a decoder of bytes writes where a character is not complete. */
const REPLACEMENT = '\uFFFD';

/**
 * Turns tokens into text, piece by piece as they come. A piece never ends within a character, nor within what may become a
 * stop string. Together the pieces are the text of all tokens, up to the first stop string.
 */
export class TextStream {
  readonly #decode: (ids: readonly number[]) => string;
  readonly #stop: readonly string[];
  readonly #ids: number[] = [];
  /** Where the tokens begin whose text is known, and where those begin whose text is not. */
  #from = 0;
  #read = 0;
  /** Known, but maybe the beginning of a stop string. */
  #held = '';
  #stopped = false;

  /** @param decode the text of tokens @param stop none of them empty */
  constructor(decode: (ids: readonly number[]) => string, stop: readonly string[] = []) {
    this.#decode = decode;
    this.#stop = stop;
  }

  /** Whether a stop string came. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text that is certain now. */
  push(token: number): string {
    this.#ids.push(token);
    const text = this.#unread();
    // Of what a token says, some depends on the one before it: a space at the beginning.
    if (text.length === 0 || text.endsWith(REPLACEMENT)) return '';
    this.#from = this.#read;
    this.#read = this.#ids.length;
    return this.#release(text, false);
  }

  /** What is left when no more tokens come. */
  end(): string {
    const text = this.#unread();
    this.#from = this.#read = this.#ids.length;
    return this.#release(text, true);
  }

  /** What the tokens from `#read` on add to the text of those before them. */
  #unread(): string {
    const before = this.#decode(this.#ids.slice(this.#from, this.#read));
    return this.#decode(this.#ids.slice(this.#from)).slice(before.length);
  }

  #release(text: string, isLast: boolean): string {
    if (this.#stopped) return '';
    const known = this.#held + text;
    const found = this.#stop.map((stop) => known.indexOf(stop)).filter((at) => at >= 0);
    this.#stopped = found.length > 0;
    const end = this.#stopped
      ? Math.min(...found)
      : known.length - (isLast ? 0 : Math.max(0, ...this.#stop.map((stop) => begun(known, stop))));
    this.#held = this.#stopped ? '' : known.slice(end);
    return known.slice(0, end);
  }
}

/** How many characters at the end of a text are the beginning of `stop`. */
function begun(text: string, stop: string): number {
  let length = Math.min(text.length, stop.length - 1);
  while (!text.endsWith(stop.slice(0, length))) length--;
  return length;
}
