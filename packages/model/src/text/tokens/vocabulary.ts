/** Tokens by number, and numbers by token. */
export class Vocabulary {
  readonly ids: ReadonlyMap<string, number>;
  readonly #tokens = new Map<number, string>();

  /** @throws when a token's number is none */
  constructor(entries: Iterable<readonly [token: string, id: number]>) {
    this.ids = new Map(entries);
    for (const [token, id] of this.ids) {
      if (!Number.isSafeInteger(id) || id < 0)
        throw new Error(`token ${JSON.stringify(token)} has no number`);
      this.#tokens.set(id, token);
    }
  }

  idOf(token: string): number | undefined {
    return this.ids.get(token);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens.get(id);
  }
}

/** @throws when the field vocab of a model is no table of tokens */
export function readVocabulary(vocab: unknown): Vocabulary {
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab))
    throw new Error('vocab must be a table of tokens');
  return new Vocabulary(Object.entries(vocab as Record<string, number>));
}
