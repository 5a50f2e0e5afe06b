import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Receipt } from '@s3t/unlearner';
import { describe, expect, test } from 'vitest';
import { s3t } from '../testing/s3t.ts';
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

test('an erasure prints its receipt though the file of it cannot be had', async () => {
  const run = mkdtempSync(join(tmpdir(), 's3t-held-'));
  // A server that erases and has nothing else to say.
  const server = createServer((request, response) => {
    request.resume();
    if (request.method === 'POST') response.writeHead(201, { 'Content-Type': 'application/json' });
    else response.writeHead(503);
    response.end(request.method === 'POST' ? JSON.stringify(receipt) : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    writeFileSync(join(run, 'run.json'), JSON.stringify({ format: 's3t-run-1', store: 'file:' }));
    // Of another machine: whether that process lives cannot be looked up.
    const lock = { pid: 1, host: 'elsewhere', token: 't', at: 0, url, server: 1 };
    writeFileSync(join(run, 'lock'), JSON.stringify({ ...lock, started: null, boot: null }));
    const file = join(run, 'receipt.json');
    const { code, stdout, stderr } = await s3t(['erase', '--run', run, '--receipt', file, '--json', 'a']);
    expect(JSON.parse(stdout)).toEqual(receipt);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/receipt\.json: the receipt cannot be read \(.+\); the records are erased, and /),
    ]);
  } finally {
    server.close();
    rmSync(run, { recursive: true });
  }
});
