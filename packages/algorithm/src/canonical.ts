import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { AlgorithmError } from './errors.ts';

/** So deep a value may be nested: everyone who checks a digest must be able to compute it, however small their stack. */
const DEEPEST = 512;

/** What has a canonical form: JSON values, up to 512 arrays and objects deep. */
export type CanonicalValue =
  | string
  | number
  | boolean
  | null
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue };

/**
 * Canonical JSON as in RFC 8785 (JCS): keys sorted by UTF-16 code units, no spaces, numbers as ECMAScript prints them, -0 as 0.
 *
 * Throws an AlgorithmError that names the path (`$.a.b[2]`) of anything JSON would drop or change in silence: undefined, NaN, Infinity,
 * bigint, functions, class instances, holes in arrays, strings that are not well-formed Unicode, cycles; and what is nested deeper than 512.
 */
export function canonicalJson(value: CanonicalValue): string {
  return write(value, '$', new Set());
}

/** SHA-256 as 64 lower-case hex digits; a string is hashed as UTF-8. Throws an AlgorithmError for a string with lone surrogates. */
export function sha256Hex(data: string | Uint8Array): string {
  return bytesToHex(sha256(bytesOf(data)));
}

/** HMAC-SHA-256 (RFC 2104) as 64 lower-case hex digits; strings are taken as UTF-8, with the same errors as {@link sha256Hex}. */
export function hmacSha256Hex(key: string | Uint8Array, data: string | Uint8Array): string {
  return preparedHmac(key)(data);
}

/**
 * {@link hmacSha256Hex} under one key, for hashing many things: the key's two compressions are done once, which makes a short string twice
 * as fast.
 */
export function preparedHmac(key: string | Uint8Array): (data: string | Uint8Array) => string {
  const start = hmac.create(sha256, bytesOf(key));
  return (data) => bytesToHex(start.clone().update(bytesOf(data)).digest());
}

/** SHA-256 of the canonical JSON: equal for equal values, whatever the order of their keys. Same errors as {@link canonicalJson}. */
export function digestOf(value: CanonicalValue): string {
  return sha256Hex(canonicalJson(value));
}

/** UTF-8. Lone surrogates are refused: UTF-8 would turn them all into U+FFFD, and two different strings into the same bytes. */
export function bytesOf(data: string | Uint8Array): Uint8Array {
  if (typeof data !== 'string') return data;
  if (!data.isWellFormed()) throw new AlgorithmError('a string to be hashed is not well-formed Unicode');
  return utf8ToBytes(data);
}

function write(value: unknown, path: string, open: Set<object>): string {
  switch (typeof value) {
    case 'string':
      return quoted(value, path);
    case 'number':
      if (!Number.isFinite(value)) throw refusal(path, String(value));
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      return value === null ? 'null' : container(value, path, open);
    default:
      throw refusal(path, typeof value);
  }
}

function container(value: object, path: string, open: Set<object>): string {
  if (open.has(value)) throw refusal(path, 'a cycle');
  // Without its path, which is as long as it is deep.
  if (open.size === DEEPEST)
    throw new AlgorithmError(`a value nested deeper than ${DEEPEST} has no canonical JSON`);
  open.add(value);
  const text = Array.isArray(value) ? list(value, path, open) : record(value, path, open);
  open.delete(value);
  return text;
}

function list(value: readonly unknown[], path: string, open: Set<object>): string {
  // Array.from visits holes, which map() would skip.
  return `[${Array.from(value, (item, index) => write(item, `${path}[${index}]`, open)).join(',')}]`;
}

function record(value: object, path: string, open: Set<object>): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw refusal(path, `an instance of ${value.constructor?.name || 'a class'}`);
  }
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields
    .map(([key, item]) => `${quoted(key, path)}:${write(item, `${path}.${key}`, open)}`)
    .join(',')}}`;
}

function quoted(value: string, path: string): string {
  if (!value.isWellFormed()) throw refusal(path, 'a string with lone surrogates');
  return JSON.stringify(value);
}

function refusal(path: string, what: string): AlgorithmError {
  return new AlgorithmError(`${path}: ${what} has no canonical JSON`);
}
