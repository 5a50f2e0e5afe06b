import { type CanonicalValue, canonicalJson } from '@s3t/algorithm';
import { type Bytes, utf8 } from './bytes.ts';

/** A log entry without its hash, which follows from the rest. */
export interface LogEntry {
  seq: number;
  kind: string;
  /** Milliseconds since 1970. */
  at: number;
  payload: unknown;
  /** Hash of the entry before; 64 zeros for the first. */
  previous: string;
}

/** An entry's bytes, canonical JSON: what the hash chain and the Merkle tree both hash. */
export function entryBytes({ seq, kind, at, payload, previous }: LogEntry): Bytes {
  return utf8(canonicalJson({ seq, kind, at, payload: payload as CanonicalValue, previous }));
}
