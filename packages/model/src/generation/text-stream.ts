/** What a decoder of bytes writes where a character is not complete. */
const REPLACEMENT = '\uFFFD';

/**
 * Turns tokens into text, piece by piece as they come. A piece never ends within a character, nor within what may become a
 * stop string. Together the pieces are what all tokens add to the text before them, up to the first stop string.
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

  /**
   * @param decode the text of tokens @param stop none of them empty
   * @param before the tokens of the text that goes on. Without them the first token begins a text, where many tokenizers leave a space out
   */
  constructor(
    decode: (ids: readonly number[]) => string,
    stop: readonly string[] = [],
    before: readonly number[] = [],
  ) {
    this.#decode = decode;
    this.#stop = stop;
    this.#ids.push(...lastText(decode, before));
    this.#read = this.#ids.length;
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

/**
 * The last of some tokens, as many as take it to have a text: what a token adds behind them it adds behind all.
 * None where they end within a character, which belongs to whoever completes it.
 */
function lastText(decode: (ids: readonly number[]) => string, ids: readonly number[]): readonly number[] {
  for (let length = 1; ; length *= 2) {
    const last = ids.slice(-length);
    const text = decode(last);
    const isBroken = text.endsWith(REPLACEMENT);
    if (text !== '' && !isBroken) return last;
    if (length >= ids.length) return isBroken ? [] : last;
  }
}

/** How many characters at the end of a text are the beginning of `stop`. */
function begun(text: string, stop: string): number {
  let length = Math.min(text.length, stop.length - 1);
  while (!text.endsWith(stop.slice(0, length))) length--;
  return length;
}
