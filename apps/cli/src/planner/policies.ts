import type { RepairPolicy } from '@s3t/algorithm';
import { InvalidArgumentError } from 'commander';
import { integer, number } from '../options.ts';

/** What is weighed against each other when nobody asks for a policy. */
export const POLICIES: readonly RepairPolicy[] = [
  { kind: 'at-once' },
  { kind: 'batch', count: 10 },
  { kind: 'batch', hours: 24 },
  { kind: 'batch', hours: 168 },
  { kind: 'exhaustion' },
];

/** A policy as the command line writes it: `at-once`, `batch:10`, `batch:24h`, `batch:10/24h`, `exhaustion`. */
export function policyName(policy: RepairPolicy): string {
  if (policy.kind !== 'batch') return policy.kind;
  const { count, hours } = policy;
  return `batch:${[count, hours === undefined ? undefined : `${hours}h`].filter((part) => part !== undefined).join('/')}`;
}

/** Parses policies separated by commas. */
export function policies(text: string): RepairPolicy[] {
  return text.split(',').map((part) => policy(part.trim()));
}

function policy(text: string): RepairPolicy {
  if (text === 'at-once' || text === 'exhaustion') return { kind: text };
  const [, count, hours] = /^batch:(?=\S)(\d+(?!\d*\.|\d*h))?\/?(?:([\d.]+)h)?$/.exec(text) ?? [];
  if (count === undefined && hours === undefined) {
    throw new InvalidArgumentError(
      'It must be at-once, exhaustion, batch:<erasures>, batch:<hours>h or batch:<erasures>/<hours>h.',
    );
  }
  return {
    kind: 'batch',
    ...(count === undefined ? {} : { count: integer(1)(count) }),
    ...(hours === undefined ? {} : { hours: number(0)(hours) }),
  };
}
