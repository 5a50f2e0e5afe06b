// PGlite's own `query` has every statement parsed and planned anew, in six messages. A ledger asks the same statements again and again:
// they are prepared once, and each call is one message then.
import { type PGlite, parse, protocol, type QueryOptions, type Results } from '@electric-sql/pglite';

const { serialize } = protocol;

/** How many are kept prepared: a list of values of another length is another statement. */
const MOST_PREPARED = 256;

interface Prepared {
  name: string;
  /** Types of the parameters, as numbers of PostgreSQL's. */
  types: readonly number[];
}

/** The prepared statements of one PGlite. */
export class PgliteStatements {
  readonly #client: PGlite;
  readonly #prepared = new Map<string, Prepared>();

  constructor(client: PGlite) {
    this.#client = client;
  }

  /** As the `query` of a PGlite's transaction; outside of one the caller sees to it that nothing comes between. */
  async query<T>(text: string, params: unknown[] = [], options: QueryOptions = {}): Promise<Results<T>> {
    const statement = this.#prepared.get(text) ?? (await this.#prepare(text));
    const values = params.map((value, i) => this.#asText(value, statement.types[i]!, options));
    const messages = await this.#send(
      serialize.bind({ statement: statement.name, values }),
      serialize.describe({ type: 'P' }),
      serialize.execute(),
      serialize.sync(),
    );
    // PGlite would copy all its parsers, some hundred, for each result.
    const { parsers, ...rest } = options;
    const all = Object.assign(Object.create(this.#client.parsers), parsers) as PGlite['parsers'];
    return parse.parseResults(messages, all, rest)[0] as Results<T>;
  }

  async #prepare(text: string): Promise<Prepared> {
    if (this.#prepared.size >= MOST_PREPARED) {
      await this.#send(
        ...Array.from(this.#prepared.values(), ({ name }) => serialize.close({ type: 'S', name })),
        serialize.sync(),
      );
      this.#prepared.clear();
    }
    const name = `s3t_${this.#prepared.size}`;
    const messages = await this.#send(
      serialize.parse({ name, text }),
      serialize.describe({ type: 'S', name }),
      serialize.sync(),
    );
    const statement = { name, types: parse.parseDescribeStatementResults(messages) };
    this.#prepared.set(text, statement);
    return statement;
  }

  #asText(value: unknown, type: number, { serializers }: QueryOptions): string | null {
    if (value === null || value === undefined) return null;
    const write = serializers?.[type] ?? this.#client.serializers[type] ?? String;
    return write(value);
  }

  /** Errors of the database are thrown as PGlite throws them; what follows them up to the sync is skipped. */
  #send(...messages: readonly Uint8Array[]): ReturnType<PGlite['execProtocolStream']> {
    return this.#client._runExclusiveQuery(() => this.#client.execProtocolStream(Buffer.concat(messages)));
  }
}
