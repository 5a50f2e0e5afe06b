import { estimatePrior } from '@s3t/algorithm';
import { InvalidArgumentError } from 'commander';

/** What every command takes. */
export interface JsonOption {
  json?: boolean;
}

/** What every command about a run takes. */
export interface RunOptions extends JsonOption {
  run: string;
}

export const RUN: readonly [string, string] = ['--run <dir>', 'the run folder'];
export const JSON_OUTPUT: readonly [string, string] = ['--json', 'print JSON'];

export const API_KEYS: readonly [string, string] = [
  '--api-keys <file>',
  'the file of the API keys (default: S3T_API_KEYS, else api-keys.json in the run folder)',
];

/** Makes a parser of integers for an option. */
export function integer(
  minimum: number,
  maximum: number = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[+-]?\d+$/.test(text) && value >= minimum && value <= maximum) return value;
    const range =
      maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`It must be an integer ${range}.`);
  };
}

/** Makes a parser of numbers for an option. */
export function number(minimum: number, maximum: number = Infinity): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= minimum && value <= maximum) return value;
    const range = maximum === Infinity ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new InvalidArgumentError(`It must be a number ${range}.`);
  };
}

const UNITS: Record<string, number> = {
  '': 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Parses `4096`, `2GB`, `1.5 GiB`: bytes. */
export function byteCount(text: string): number {
  const [, size, unit] = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b)?\s*$/i.exec(text) ?? [];
  if (size !== undefined) return Math.floor(Number(size) * UNITS[(unit ?? '').toLowerCase()]!);
  throw new InvalidArgumentError('It must be a number of bytes, such as 4096, 2GB or 512MiB.');
}

/** Parses `0.5,0.25,0.25`. */
export function numbers(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError('It must be numbers separated by commas.');
}

/** What a prior is written as, everywhere. */
export const PRIOR: readonly [string, string, (text: string) => number[]] = [
  '--prior <p0,p1,..>',
  'probability that an erasure hits each slice, or counts:<n0,n1,..> to estimate it from how many did (default: all alike)',
  (text) => {
    const [, counts] = /^counts:(.*)$/.exec(text) ?? [];
    return counts === undefined ? numbers(text) : estimatePrior(integers(counts));
  },
];

/** Parses `0,2`: numbers of shards, for example. */
export function integers(text: string): number[] {
  const parse = integer(0);
  return text.split(',').map((part) => parse(part.trim()));
}
