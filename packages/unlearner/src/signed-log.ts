import { type Ledger, LedgerError, type Repaired, readSigningKey } from '@s3t/ledger';
import {
  formatReceipt,
  PAYLOAD_TYPE,
  repairedStatement,
  type SigningKey,
  sealEnvelope,
  signCheckpoint,
  utf8,
} from '@s3t/ledger/log';
import { UnlearnerError } from './errors.ts';

/** Shows that a log of `to` entries begins with the log that had `from` (RFC 9162, 2.1.4). */
export interface ConsistencyProof {
  from: number;
  to: number;
  hashes: readonly string[];
}

/**
 * A run's log as auditors see it. Nothing signed is stored: Ed25519 gives the same bytes for the same statement and the
 * same log, so an erasure waits for no signature, and a receipt is the same file whenever it is asked for: one until the erasure is
 * repaired, and one from then on, which also says when that was.
 */
export class SignedLog {
  readonly #ledger: Ledger;
  readonly #origin: string;
  readonly #keyFile: string;
  readonly #mayCreate: boolean;
  #key: Promise<SigningKey> | null = null;

  /** @param keyFile where the key lies. @param mayCreate makes one on first need where there is none */
  constructor(ledger: Ledger, origin: string, keyFile: string, mayCreate: boolean) {
    this.#ledger = ledger;
    this.#origin = origin;
    this.#keyFile = keyFile;
    this.#mayCreate = mayCreate;
  }

  /** The key that checks everything here, as one line: `<log>+<id>+<base64>`. */
  async publicKey(): Promise<string> {
    return (await this.#signingKey()).publicKey.text;
  }

  /** Signs what somebody else's protocol wants signed. JSON only: no note and no envelope begins with a brace. */
  async sign(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    if (data[0] !== 0x7b) throw new UnlearnerError('usage', 'data: only a JSON object is signed');
    return (await this.#signingKey()).sign(data);
  }

  /** The log's size and Merkle root, signed (C2SP tlog-checkpoint). */
  async checkpoint(): Promise<string> {
    return this.#sign(await told(() => this.#ledger.log.head()));
  }

  /** @param to default: the log as it is. @throws UnlearnerError `usage` for sizes the log never had */
  async consistency(from: number, to?: number): Promise<ConsistencyProof> {
    return told(() => this.#ledger.log.proveConsistency(from, to));
  }

  /** The receipt of an erasure as a file; null when there is none, or it was acknowledged before there were any. */
  async receiptFile(erasure: string): Promise<string | null> {
    const row = await told(() => this.#ledger.erasure(erasure));
    if (row === null || row.acknowledgedSeq === null || row.statement === null) return null;
    const seq = row.repairedSeq ?? row.acknowledgedSeq;
    const { entry, ...inclusion } = await told(() => this.#ledger.log.proveEntry(seq));
    const statement =
      entry.kind === 'repair'
        ? repairedStatement(row.statement, { at: entry.at, ...(entry.payload as Pick<Repaired, 'served'>) })
        : row.statement;
    const key = await this.#signingKey();
    return formatReceipt({
      publicKey: key.publicKey.text,
      envelope: await sealEnvelope(PAYLOAD_TYPE, utf8(statement), key),
      entry,
      inclusion,
      checkpoint: await this.#sign(await told(() => this.#ledger.log.head(inclusion.size))),
    });
  }

  async #sign(head: { size: number; root: string }): Promise<string> {
    return signCheckpoint({ origin: this.#origin, ...head }, await this.#signingKey());
  }

  #signingKey(): Promise<SigningKey> {
    if (this.#key) return this.#key;
    const reading = told(() => readSigningKey(this.#keyFile, this.#origin, this.#mayCreate));
    this.#key = reading;
    // Read again next time: the file may be put right.
    reading.catch(() => {
      this.#key = null;
    });
    return reading;
  }
}

/** Errors of the ledger, as errors of a run. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof LedgerError)) throw cause;
    const code = { 'log-size': 'usage', 'ledger-corrupt': 'corrupt' }[cause.code] ?? 'store';
    throw new UnlearnerError(code as UnlearnerError['code'], cause.message, { cause });
  }
}
