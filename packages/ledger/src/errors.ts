/** Base of everything this package throws on purpose: a stable `code` and one clear line. */
export class LedgerError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Another process holds the run folder (or the database). `url` is where it listens, when it said so. */
export class LedgerHeldError extends LedgerError {
  readonly folder: string;
  readonly pid: number | null;
  readonly host: string | null;
  readonly url: string | null;
  constructor(held: {
    folder: string;
    pid: number | null;
    host: string | null;
    url: string | null;
    hint?: string;
  }) {
    const who = held.pid === null ? 'another process' : `process ${held.pid} on ${held.host}`;
    const where = held.url === null ? '' : `, which listens at ${held.url}`;
    super('held', `the run in ${held.folder} is held by ${who}${where}${held.hint ? `; ${held.hint}` : ''}`);
    this.folder = held.folder;
    this.pid = held.pid;
    this.host = held.host;
    this.url = held.url;
  }
}

/** The ledger contradicts itself. `seq` is the first bad log entry, null when the fault lies beside the log. */
export class LedgerCorruptError extends LedgerError {
  readonly seq: number | null;
  constructor(message: string, seq: number | null = null, options?: { cause?: unknown }) {
    super('ledger-corrupt', message, options);
    this.seq = seq;
  }
}

/** An adapter's file no longer has the digest it is named by. */
export class AdapterCorruptError extends LedgerError {
  readonly file: string;
  constructor(file: string, found: string) {
    super('adapter-corrupt', `${file} is corrupt: its bytes have digest ${found}`);
    this.file = file;
  }
}

/** No file with this digest is in the adapter store. */
export class AdapterMissingError extends LedgerError {
  readonly file: string;
  constructor(file: string) {
    super('adapter-missing', `${file} is missing from the adapter store`);
    this.file = file;
  }
}

/** A file of the adapter store could not be written or removed (disk full, no permission, ...). */
export class StoreWriteError extends LedgerError {
  readonly file: string;
  constructor(file: string, cause: unknown) {
    super('store-write', `cannot write ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
    this.file = file;
  }
}

/** The stored bytes of a stage differ from bytes trained for the same id: training was not deterministic. */
export class DeterminismError extends LedgerError {
  readonly stage: string;
  constructor(stage: string, stored: string, found: string) {
    super(
      'determinism',
      `stage ${stage} was stored with weights ${stored}, but training it again gave ${found}`,
    );
    this.stage = stage;
  }
}

/** Some keys name no record of this run. `indexes` are their places in the input. */
export class UnknownRecordError extends LedgerError {
  readonly indexes: readonly number[];
  constructor(indexes: readonly number[], of: number) {
    super(
      'unknown-record',
      `${indexes.length} of ${of} records are not in this run (input ${listed(indexes)}); nothing was erased`,
    );
    this.indexes = indexes;
  }
}

/** Some subjects have no record in this run: they never had, or all were erased. `indexes` are their places in the input. */
export class UnknownSubjectError extends LedgerError {
  readonly indexes: readonly number[];
  constructor(indexes: readonly number[], of: number) {
    super(
      'unknown-subject',
      `${indexes.length} of ${of} subjects have no record in this run, or none any more (input ${listed(indexes)}); nothing was erased`,
    );
    this.indexes = indexes;
  }
}

/** Some keys were erased before. `indexes` are their places in the input. */
export class AlreadyErasedError extends LedgerError {
  readonly indexes: readonly number[];
  constructor(indexes: readonly number[], of: number) {
    super(
      'already-erased',
      `${indexes.length} of ${of} records were erased before (input ${listed(indexes)}); nothing was changed`,
    );
    this.indexes = indexes;
  }
}

/** The idempotency key was used before, for a different request. */
export class IdempotencyConflictError extends LedgerError {
  /** The erasure the key belongs to. */
  readonly erasure: string;
  constructor(erasure: string) {
    super(
      'idempotency-conflict',
      `this idempotency key belongs to erasure ${erasure}, which was another request`,
    );
    this.erasure = erasure;
  }
}

function listed(indexes: readonly number[]): string {
  const shown = indexes.slice(0, 10).join(', ');
  return indexes.length > 10 ? `${shown}, ...` : shown;
}

/** The innermost message of an error chain: drizzle's own wraps the SQL and every parameter, which no user should see. */
export function causeMessage(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
}
