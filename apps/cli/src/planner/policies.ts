import type { RepairPolicy } from '@s3t/algorithm';
import { InvalidArgumentError } from 'commander';
import { integer, number } from '../options.ts';

/** What is weighed against each other when nobody asks for a policy. */
export const POLICIES: readonly RepairPolicy[] = [
  { kind: 'at-once' },
  { kind: 'batch', count: 10 },
  { kind: 'batch', minutes: 24 * 60 },
  { kind: 'batch', minutes: 168 * 60 },
  { kind: 'exhaustion' },
];

/** A policy as the command line writes it: `at-once`, `batch:10`, `batch:24h`, `batch:10/30m`, `exhaustion`, `manual`. */
export function policyName(policy: RepairPolicy): string {
  if (policy.kind !== 'batch') return policy.kind;
  const { count, minutes } = policy;
  return `batch:${[count, minutes === undefined ? undefined : waitName(minutes)].filter((part) => part !== undefined).join('/')}`;
}

function waitName(minutes: number): string {
  return minutes >= 60 && minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`;
}

/** Parses policies separated by commas. */
export function policies(text: string): RepairPolicy[] {
  return text.split(',').map((part) => policy(part.trim()));
}

function policy(text: string): RepairPolicy {
  if (text === 'at-once' || text === 'exhaustion' || text === 'manual') return { kind: text };
  const [, count, wait, unit] =
    /^batch:(?=\S)(\d+(?!\d*\.|\d*[hm]))?\/?(?:([\d.]+)([hm]))?$/.exec(text) ?? [];
  if (count === undefined && wait === undefined) {
    throw new InvalidArgumentError(
      'It must be at-once, exhaustion, manual, batch:<erasures>, batch:<hours>h, batch:<minutes>m or both as batch:<erasures>/<hours>h.',
    );
  }
  return {
    kind: 'batch',
    ...(count === undefined ? {} : { count: integer(1)(count) }),
    ...(wait === undefined ? {} : { minutes: number(0)(wait) * (unit === 'h' ? 60 : 1) }),
  };
}
