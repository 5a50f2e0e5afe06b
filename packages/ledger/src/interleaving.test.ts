import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import type { PublishStage } from './index.ts';
import { SharedPglite } from './testing/pglite.ts';
import { digest, manifestOf, plan, SEQUENCES, SHARDS, SLICES, testRecords, testRun } from './testing/run.ts';

const shared = new SharedPglite();
afterAll(() => shared.remove());

type Step = { plan: [number, number, number] } | { publish: number } | { erase: number[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.nat(SHARDS - 1), fc.nat(SEQUENCES.length - 1), fc.nat(SLICES - 1))
      .map((of) => ({ plan: of })),
  },
  { weight: 4, arbitrary: fc.nat(9).map((index) => ({ publish: index })) },
  {
    weight: 1,
    arbitrary: fc
      .uniqueArray(fc.nat(11), { minLength: 1, maxLength: 3 })
      .map((records) => ({ erase: records })),
  },
);

test('however planning, publishing and erasing interleave, no active stage has seen an erased record', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const ledger = await shared.fresh();
      ledger.useManifest(manifestOf);
      await ledger.createRun(testRun(12));
      const records = testRecords(12);
      /** What the model knows: records that are left, stages planned and the records each was planned over. */
      const left = new Set(records.map((_, index) => index));
      const holds = (shard: number, slices: number[]): number[] =>
        [...left].filter(
          (index) => records[index]?.shard === shard && slices.includes(records[index]?.slice as number),
        );
      const planned: { stage: PublishStage; seen: number[] }[] = [];
      const active = new Map<string, number[]>();
      let version = 0;
      for (const next of steps) {
        if ('plan' in next) {
          const { bytes, ...stage } = plan(await ledger.revisions(), ...next.plan);
          await ledger.adapters.put(bytes);
          planned.push({ stage, seen: holds(stage.shard, stage.slices) });
        } else if ('publish' in next) {
          const chosen = planned[next.publish % Math.max(1, planned.length)];
          if (chosen === undefined) continue;
          const { stage, seen } = chosen;
          const spoilt = seen.some((index) => !left.has(index));
          const answer = await ledger.publishStage(stage).catch((error) => error.code);
          if (spoilt) expect(answer).toEqual({ published: false, reason: 'superseded' });
          else if (stage.parent !== null && !active.has(`${stage.shard} ${stage.parent}`))
            expect(answer).toBe('parent-missing');
          else active.set(`${stage.shard} ${stage.id}`, seen);
        } else {
          const gone = next.erase.filter((index) => left.has(index));
          const keys = gone.map((index) => records[index]?.key as string);
          if (keys.length === 0) continue;
          for (const index of gone) left.delete(index);
          const erased = await ledger.erase({ keys, requestDigest: digest(keys.join()), receivedAt: 1 });
          const expected = [...active].flatMap(([stage, seen]) =>
            seen.some((index) => !left.has(index)) ? stage : [],
          );
          expect(erased.deactivated.map(({ shard, stage }) => `${shard} ${stage}`).sort()).toEqual(
            expected.sort(),
          );
          for (const stage of expected) active.delete(stage);
        }
        const stored = await ledger.activeStages();
        expect(stored.map(({ shard, id }) => `${shard} ${id}`).sort()).toEqual([...active.keys()].sort());
        const now = await ledger.version();
        expect(now.version).toBeGreaterThanOrEqual(version);
        expect(now.manifest).toBe(manifestOf(stored).digest);
        version = now.version;
      }
      await ledger.verifyChain();
    }),
    { numRuns: 25 },
  );
});
