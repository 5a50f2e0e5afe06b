export type UnlearnerErrorCode =
  | 'config'
  | 'usage'
  | 'data'
  | 'base'
  | 'store'
  | 'corrupt'
  | 'held'
  | 'unknown-record'
  | 'unknown-subject'
  | 'already-erased'
  | 'idempotency-conflict'
  | 'unavailable';

/** Anything a run refuses. One line; `code` tells programs what it is. */
export class UnlearnerError extends Error {
  override name = 'UnlearnerError';
  readonly code: UnlearnerErrorCode;

  constructor(code: UnlearnerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
