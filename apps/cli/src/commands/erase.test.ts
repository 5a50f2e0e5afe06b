import type { Receipt } from '@s3t/unlearner';
import { describe, expect, test } from 'vitest';
import { renderErasure } from './erase.ts';

const stage = { stage: 'a'.repeat(64), shard: 0, sequence: 0, position: 0 };
const receipt: Receipt = {
  erasure: 'e1',
  records: 2,
  deactivated: [stage],
  before: { version: 3, manifest: 'b'.repeat(64) },
  after: { version: 4, manifest: 'c'.repeat(64) },
  acknowledgedMs: 2194,
  receivedAt: '2026-01-01T00:00:00.000Z',
  acknowledgedAt: '2026-01-01T00:00:02.194Z',
};
const told = (
  change: Partial<Receipt> = {},
  { depths = [1, 2], openedMs }: { depths?: number[]; openedMs?: number } = {},
): string => renderErasure({ receipt: { ...receipt, ...change }, depths, slices: 2, openedMs });

describe('what an erasure prints', () => {
  test('says how deep each shard serves now', () => {
    expect(told()).toMatch(/^served depth +1 2 {3}of 2, shard by shard$/m);
    expect(told()).toMatch(/`s3t repair` trains them again on what is left\.$/);
  });

  test('says when nothing is served any more, also where it took no stage itself', () => {
    const nothing =
      /\nNothing is served now: predictions fail until `s3t repair` has trained stages again\.$/;
    expect(told({}, { depths: [0, 0] })).toMatch(nothing);
    expect(told({ deactivated: [] }, { depths: [0, 0] })).toMatch(nothing);
    expect(told()).not.toMatch(nothing);
  });

  test('does not claim that nothing was trained on records whose stages had gone', () => {
    expect(told({ deactivated: [] })).toMatch(
      /^deactivated +none: the stages of their slices were gone already, or not trained yet$/m,
    );
  });

  test('counts whole milliseconds, and says how many opened the run', () => {
    expect(told()).toMatch(/^acknowledged +after 2,194 ms$/m);
    expect(told({}, { openedMs: 2041 })).toMatch(
      /^acknowledged +after 2,194 ms, of which opening the run took 2,041 ms$/m,
    );
    // What was answered before was measured then.
    expect(told({ repeated: true }, { openedMs: 2041 })).toMatch(/^acknowledged +after 2,194 ms$/m);
  });

  test('of a dry run has no acknowledgement', () => {
    const planned = renderErasure({ receipt: { ...receipt, dryRun: true } });
    expect(planned).toMatch(/^Dry run: nothing was changed\.\n/);
    expect(planned).not.toMatch(/acknowledged|served depth|s3t repair/);
  });
});
