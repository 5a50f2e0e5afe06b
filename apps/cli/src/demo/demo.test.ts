import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { place } from '@s3t/algorithm';
import type { Receipt } from '@s3t/unlearner';
import { afterAll, describe, expect, test } from 'vitest';
import { statusLike } from '../testing/status.ts';
import { chooseTargets } from './choose.ts';
import { type Erasure, findViolations } from './erasing.ts';
import { drawStory } from './picture.ts';
import { failures, type Report } from './report.ts';
import { claimFolder } from './workplace.ts';

const orders = [
  [0, 1, 2, 3],
  [1, 2, 3, 0],
];
const partition = { shards: 3, slices: 4, seed: 1 };

describe('the records to erase', () => {
  const ids = Array.from({ length: 600 }, (_, row) => `train/${row}`);

  test('lie where they should, in three slices of three shards', () => {
    const targets = chooseTargets(orders, ids, partition, 5);
    expect(targets.map(({ shard }) => shard)).toEqual([0, 1, 2]);
    expect(new Set(targets.map(({ slice }) => slice)).size).toBe(3);
    for (const { shard, slice, records } of targets) {
      expect(records).toHaveLength(5);
      for (const id of records) expect(place(id, partition)).toEqual({ shard, slice });
      // Some sequence does not begin with it: the shard goes on serving.
      expect(orders.some((order) => order[0] !== slice)).toBe(true);
    }
  });

  test('a run that is too small is refused', () => {
    expect(() => chooseTargets(orders, ids.slice(0, 30), partition, 5)).toThrow(/too small/);
    expect(() => chooseTargets([[0, 1]], ids, { shards: 3, slices: 2, seed: 1 }, 5)).toThrow(/too small/);
  });
});

describe('violations', () => {
  const receipt = {
    deactivated: [{ stage: 'old', shard: 0, sequence: 0, position: 1 }],
    after: { version: 8, manifest: 'after' },
  } as unknown as Receipt;
  const erasure = {
    receipt,
    acknowledgedAt: 100,
    target: { shard: 0, slice: 1, records: [] },
  } satisfies Erasure;
  const answer = (receivedAt: number, version: number, manifest = 'm') => ({
    receivedAt,
    version,
    manifest,
    digits: 1,
    right: 1,
  });
  const none = (): undefined => undefined;

  test('an old version after the acknowledgement is one, before it is none', () => {
    const answers = [answer(99, 7), answer(101, 7), answer(101, 8), answer(102, 9)];
    expect(findViolations(answers, [erasure], none)).toEqual([answers[1]]);
  });

  test('so is a new version that still names a deactivated stage', () => {
    const stages = (manifest: string): Set<string> => new Set(manifest === 'bad' ? ['old'] : ['new']);
    const answers = [answer(101, 9, 'bad'), answer(101, 9, 'good')];
    expect(findViolations(answers, [erasure], stages)).toEqual([answers[0]]);
  });
});

const report: Report = {
  accuracy: { before: 0.97, afterErasure: 0.96, afterRepair: 0.97 },
  erasures: [{ records: 5, acknowledgedMs: 12, deactivated: [] }],
  violations: 0,
  verify: { identical: true, compared: 8 },
  seconds: { train: 60, repair: 30, total: 120 },
};

test('the demo fails on a violation, a difference, and low accuracy', () => {
  expect(failures(report, 0.9)).toEqual([]);
  expect(failures(report, 0.99)).toHaveLength(2);
  expect(failures({ ...report, violations: 2 }, 0.9)).toEqual(['2 answers came from deactivated stages']);
  expect(failures({ ...report, verify: { identical: false, compared: 8 } }, 0.9)).toHaveLength(1);
});

test('the picture is one well-formed drawing that says what happened', () => {
  const before = statusLike(3, orders, () => false);
  const afterErasure = statusLike(3, orders, (shard, slices) => shard === 0 && slices.includes(3));
  const afterRepair = statusLike(3, orders, () => false, 'repaired');
  const receipt = { acknowledgedMs: 12.3 } as Receipt;
  const erasures = [{ receipt, acknowledgedAt: 500, target: { shard: 0, slice: 3, records: [] } }];
  const answers = [
    { receivedAt: 0, version: 3, manifest: 'a', digits: 4, right: 4 },
    { receivedAt: 900, version: 4, manifest: 'b', digits: 4, right: 4 },
  ];
  const svg = drawStory({
    report,
    before,
    afterErasure,
    afterRepair,
    erasures,
    answers,
    verifiedShards: [0],
  });
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg.match(/<(\w+)[^>]*[^/]>/g)!.length).toBe(svg.match(/<\/\w+>/g)!.length);
  for (const part of [
    '97.0 %',
    '96.0 %',
    'acknowledged in 12 ms',
    'version 4',
    'shard 0, slice 3',
    'All 8 stages',
  ]) {
    expect(svg).toContain(part);
  }
  expect(svg).not.toContain('NaN');
});

describe("the demo's folder", () => {
  const base = mkdtempSync(join(tmpdir(), 's3t-demo-'));
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('is emptied, and holds a configuration that finds its base', async () => {
    const folder = join(base, 'mine');
    await claimFolder(folder);
    writeFileSync(join(folder, 'old'), '');
    const config = await claimFolder(folder);
    expect(readdirSync(folder).sort()).toEqual(['demo.pid', 's3t.config.json']);
    expect(existsSync(join(folder, JSON.parse(readFileSync(config, 'utf8')).base, 'config.json'))).toBe(true);
  });

  test('is left alone when it is not ours, or another demo is at work in it', async () => {
    writeFileSync(join(base, 'thesis.tex'), '');
    await expect(claimFolder(base)).rejects.toThrow(/not a demo's/);
    const busy = join(base, 'busy');
    mkdirSync(busy);
    writeFileSync(join(busy, 'demo.pid'), `${process.ppid}\n`);
    await expect(claimFolder(busy)).rejects.toThrow(/another demo is at work there/);
  });
});
