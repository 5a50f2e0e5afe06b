// A process that works on a run until it is killed. Every line it prints is something it was told is durable.
import { writeSync } from 'node:fs';
import { openLedger } from '../index.ts';
import {
  all,
  digest,
  manifestOf,
  plan,
  SEQUENCES,
  SHARDS,
  SLICES,
  settle,
  testRecords,
  testRun,
} from './run.ts';

const [folder = '', store = 'file:', total = '600'] = process.argv.slice(2);
const say = (line: unknown): void => void writeSync(1, `${JSON.stringify(line)}\n`);

const ledger = await openLedger({ store, folder, manifest: manifestOf });
const records = testRecords(Number(total));
if ((await ledger.run()) === null) await ledger.createRun(testRun(records.length));
for (const { id } of await ledger.erasures('in_progress')) await settle(ledger, id);

const now = await ledger.revisions();
const active = await ledger.activeStages();
const stale = active.filter(({ shard, slices, lineage }) =>
  slices.some((slice, index) => (lineage as string[])[index] !== `${slice}@${now[shard]?.[slice]}`),
);
const lost: string[] = [];
for (const { weights } of active) await ledger.adapters.get(weights).catch(() => lost.push(weights));
const remaining = new Set((await all(ledger.records())).map(({ key }) => key));
const gone = records.flatMap(({ key }, index) => (remaining.has(key) ? [] : index));
const claimed: number[] = [];
for (const index of gone)
  if (await ledger.isErased((records[index] as { key: string }).key)) claimed.push(index);
const erasures = (await ledger.erasures()).map(({ id, state }) => [id, state]);
const stages = (await ledger.stages()).map(({ id, shard }) => `${shard} ${id}`);
const counts = await ledger.counts();
say({
  state: {
    erasures,
    stages,
    stale: stale.length,
    lost,
    gone,
    claimed,
    counts: [counts.records, counts.erased],
  },
});

for (let turn = 0; ; turn++) {
  await publishSome(2);
  const left = await all(ledger.records());
  const key = left[Number.parseInt(digest(`${turn}`).slice(0, 8), 16) % left.length]?.key;
  if (key === undefined) break;
  const { erasure } = await ledger.erase({ keys: [key], requestDigest: digest(key), receivedAt: 1 });
  say({ erased: erasure, record: records.findIndex((record) => record.key === key) });
  await settle(ledger, erasure);
  say({ acknowledged: erasure });
}

/** Publishes up to `limit` of the missing stages. */
async function publishSome(limit: number): Promise<void> {
  let done = 0;
  const present = new Set((await ledger.activeStages()).map(({ id }) => id));
  const revisions = await ledger.revisions();
  for (let shard = 0; shard < SHARDS; shard++) {
    for (let sequence = 0; sequence < SEQUENCES.length; sequence++) {
      for (let position = 0; position < SLICES; position++) {
        const { bytes, ...stage } = plan(revisions, shard, sequence, position);
        if (present.has(stage.id) || done++ >= limit) continue;
        await ledger.adapters.put(bytes);
        await ledger.publishStage(stage);
        say({ published: `${shard} ${stage.id}` });
      }
    }
  }
}
