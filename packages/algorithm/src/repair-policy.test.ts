import { expect, test } from 'vitest';
import { minutesUntilRepair, type RepairNeed, type RepairPolicy } from './repair-policy.ts';

test.each<[string, RepairPolicy, Partial<RepairNeed>, number]>([
  ['at once', { kind: 'at-once' }, {}, 0],
  ['at once, with nothing to do', { kind: 'at-once' }, { pending: 0, exhausted: true }, Infinity],
  ['on exhaustion, with something served', { kind: 'exhaustion' }, { pending: 99 }, Infinity],
  ['on exhaustion', { kind: 'exhaustion' }, { exhausted: true }, 0],
  ['by hand', { kind: 'manual' }, { exhausted: true }, Infinity],
  ['a batch that is not full', { kind: 'batch', count: 3 }, { pending: 2, waitedMinutes: 1e6 }, Infinity],
  ['a batch that is full', { kind: 'batch', count: 3 }, { pending: 3 }, 0],
  ['a batch that waits', { kind: 'batch', minutes: 30 }, { waitedMinutes: 12 }, 18],
  ['a batch that has waited', { kind: 'batch', minutes: 30 }, { waitedMinutes: 31 }, 0],
  ['whichever comes first', { kind: 'batch', count: 2, minutes: 30 }, { pending: 2 }, 0],
])('a repair %s', (_, policy, need, minutes) => {
  expect(minutesUntilRepair(policy, { pending: 1, waitedMinutes: 0, exhausted: false, ...need })).toBe(
    minutes,
  );
});
