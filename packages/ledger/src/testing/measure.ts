// Latency of erasures on a large ledger. From packages/ledger:
//   node --conditions=@s3t/source src/testing/measure.ts [records=100000] [erasures=500] [store=file:] [records of a subject=0: by record]
import { rm } from 'node:fs/promises';
import { type Ledger, openLedger, type StoredRecord } from '../index.ts';
import { digest, manifestOf, temporaryFolder } from './run.ts';

const [shards, slices] = [5, 4];
const sequences = Array.from({ length: slices }, (_, start) =>
  Array.from({ length: slices }, (_, i) => (start + i) % slices),
);
const [total, erasures, store, perSubject] = [
  Number(process.argv[2] ?? 100_000),
  Number(process.argv[3] ?? 500),
  process.argv[4] ?? 'file:',
  Number(process.argv[5] ?? 0),
];

const keyOf = (index: number): string => digest(`record ${index}`);
/** Consecutive records are about one subject: they lie in different slices. */
const subjectOf = (index: number): string => digest(`subject ${Math.floor(index / perSubject)}`);

function* records(): Generator<StoredRecord> {
  for (let index = 0; index < total; index++) {
    const shard = index % shards;
    yield {
      key: keyOf(index),
      digest: digest(`content ${index}`),
      shard,
      slice: Math.floor(index / shards) % slices,
      subject: perSubject === 0 ? undefined : subjectOf(index),
    };
  }
}

/** Publishes what is missing of all 80 stages. */
async function publishAll(ledger: Ledger): Promise<void> {
  const revisions = await ledger.revisions();
  for (let shard = 0; shard < shards; shard++) {
    for (const [sequence, order] of sequences.entries()) {
      let parent: string | null = null;
      for (let position = 0; position < slices; position++) {
        const of = order.slice(0, position + 1);
        const guard = of.map((slice) => revisions[shard]?.[slice] ?? -1);
        const id = digest(`${shard} ${of} ${guard}`);
        const weights = await ledger.adapters.put(new TextEncoder().encode(id));
        const common = {
          id,
          shard,
          position,
          slices: of,
          sequences: [sequence],
          parent,
          lineage: of,
          weights,
          guard,
        };
        await ledger.publishStage({ ...common, records: Math.floor(total / shards / slices) });
        parent = id;
      }
    }
  }
}

function report(name: string, times: number[]): void {
  times.sort((a, b) => a - b);
  const at = (q: number): string =>
    (times[Math.min(times.length - 1, Math.floor(q * times.length))] as number).toFixed(1);
  console.log(`${name.padEnd(40)} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (${times.length})`);
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

const folder = await temporaryFolder();
let ledger = await openLedger({ store, folder, manifest: manifestOf });
try {
  const run = {
    config: {},
    setting: '{}',
    shards,
    slices,
    sequences,
    base: digest('base'),
    records: records(),
  };
  console.log(
    `create ${total} records: ${((await timed(() => ledger.createRun(run)))[1] / 1000).toFixed(1)} s`,
  );
  const times: Record<'erase' | 'acknowledged', number[]> = { erase: [], acknowledged: [] };
  for (let index = 0; index < erasures; index++) {
    // Every tenth erasure meets a full ensemble, the others what is left of it.
    if (index % 10 === 0) await publishAll(ledger);
    const place = Math.floor((index * total) / erasures);
    const key = keyOf(place);
    const start = performance.now();
    const { erasure } = await ledger.erase({
      ...(perSubject === 0 ? { keys: [key] } : { keys: [], subjects: [subjectOf(place)] }),
      requestDigest: digest(key),
      receivedAt: Date.now(),
      idempotencyKey: key,
    });
    times.erase.push(performance.now() - start);
    await ledger.adapters.destroyAll(await ledger.pendingDestruction(erasure));
    const now = Date.now();
    await ledger.acknowledge(erasure, { acknowledgedAt: now, destroyedAt: now, receipt: { erasure } });
    times.acknowledged.push(performance.now() - start);
  }
  report('erase', times.erase);
  report('erase + destroy files + acknowledge', times.acknowledged);
  console.log(
    `counts ${(await timed(() => ledger.counts()))[1].toFixed(0)} ms, audit ${(await timed(() => ledger.verifyChain()))[1].toFixed(0)} ms`,
  );
  const [, slice] = await timed(() => ledger.sliceRecords(0, 0));
  const [seen, all] = await timed(async () => {
    let count = 0;
    for await (const _ of ledger.records()) count++;
    return count;
  });
  console.log(`one slice ${slice.toFixed(0)} ms, all ${seen} records ${all.toFixed(0)} ms`);
  await ledger.close();
  const [reopened, opening] = await timed(() => openLedger({ store, folder, manifest: manifestOf }));
  ledger = reopened;
  console.log(
    `reopen ${opening.toFixed(0)} ms, resident ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
  );
} finally {
  await ledger.close();
  await rm(folder, { recursive: true, force: true });
}
