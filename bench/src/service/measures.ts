import { rm } from 'node:fs/promises';
import { openLedger } from '@s3t/ledger';
import type { RecordPlace } from '@s3t/unlearner';
import { medianOf } from '../models/report.ts';
import { Crowd, Http, pause } from './clients.ts';
import { ErasingClient } from './erasing-client.ts';
import { copyRun, SHARDS, type TrainedRun } from './run.ts';
import { type Delays, Server } from './start-server.ts';

export interface Latencies {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

export function latenciesOf(times: readonly number[]): Latencies {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** Answers that come between two erasures at least. */
const BETWEEN = 20;
/** What one server is asked to erase, before the next begins with every stage active again. */
const PER_SERVER = 18;

/**
 * Erasures, one after the other, while `clients` predict: milliseconds from sending one to having its receipt. Half of them deactivate
 * stages; the others find that earlier ones did. Something is served all the time.
 */
export async function measureErasures(
  run: TrainedRun,
  slices: number,
  bodies: readonly string[],
  { clients, erasures }: { clients: number; erasures: number },
): Promise<{
  all: Latencies;
  switching: Latencies;
  /** By the server's own clock, from the request's arrival. */
  inServer: Latencies;
  delays: Delays;
  calm: Delays;
  readyMs: number;
  answers: number;
  cut: number;
}> {
  const [all, switching, inServer]: [number[], number[], number[]] = [[], [], []];
  const [delays, calm]: [Delays[], Delays[]] = [[], []];
  let [readyMs, answers, cut] = [Number.POSITIVE_INFINITY, 0, 0];
  const copy = `${run.folder}-copy`;
  while (all.length < erasures) {
    await copyRun(run.folder, copy);
    const server = await Server.start(copy);
    readyMs = Math.min(readyMs, server.readyMs);
    const http = new Http(server.url);
    const crowd = new Crowd(http, clients, bodies);
    const client = new ErasingClient(server.url);
    await crowd.until(20 * clients);
    await server.watch();
    await crowd.until(crowd.answers + 20 * clients);
    calm.push(await server.delays());
    await server.watch();
    for (const id of inTurn(run.places, slices).slice(0, Math.min(PER_SERVER, erasures - all.length))) {
      await crowd.until(crowd.answers + BETWEEN);
      const { ms, receipt } = await client.erase(id);
      all.push(ms);
      inServer.push(receipt.acknowledgedMs);
      if (receipt.deactivated.length > 0) switching.push(ms);
    }
    // What an erasure sets off afterwards belongs to it.
    await pause(1000);
    delays.push(await server.delays());
    answers += crowd.answers;
    await crowd.stop();
    cut += crowd.cut;
    http.close();
    await client.close();
    await server.close();
    await rm(copy, { recursive: true });
  }
  return {
    all: latenciesOf(all),
    switching: latenciesOf(switching),
    inServer: latenciesOf(inServer),
    ...{ delays: worst(delays), calm: worst(calm), readyMs, answers, cut },
  };
}

function worst(delays: readonly Delays[]): Delays {
  return {
    p50: Math.max(...delays.map(({ p50 }) => p50)),
    p99: Math.max(...delays.map(({ p99 }) => p99)),
    max: Math.max(...delays.map(({ max }) => max)),
  };
}

/** Records of all slices but the first of each shard: two rounds, the first hits stages of all. */
function inTurn(places: readonly RecordPlace[], slices: number): string[] {
  const ids: string[] = [];
  for (let round = 0; ids.length < PER_SERVER; round++)
    for (let slice = slices - 1; slice > 0; slice--)
      for (let shard = 0; shard < SHARDS; shard++) {
        const here = places.filter((place) => place.shard === shard && place.slice === slice);
        ids.push(here[round % here.length]!.id);
      }
  return ids;
}

/**
 * Erasures with repairs behind them while clients predict. An answer is wrong where its manifest lists a stage that an erasure
 * deactivated whose acknowledgement was there before the question was sent (`wrong`), or before the answer was read (`late`: two sockets are
 * read in an order that need not be that of the server's writing).
 */
export async function countStale(
  run: TrainedRun,
  bodies: readonly string[],
  { clients, erasures, predictions }: { clients: number; erasures: number; predictions: number },
): Promise<{
  predictions: number;
  erasures: number;
  wrong: number;
  late: number;
  unserved: number;
  cut: number;
  manifests: number;
  repaired: number;
}> {
  const server = await Server.start(run.folder);
  const http = new Http(server.url);
  /** Of each acknowledged erasure the stages that it deactivated. */
  const gone: string[][] = [];
  /** How many answers had this manifest, so many acknowledgements when asked, and so many when read. */
  const seen = new Map<string, number>();
  const crowd = new Crowd(http, clients, bodies, {
    onAsk: () => gone.length,
    onAnswer: ({ headers }, asked) => {
      const key = `${headers['x-s3t-manifest']} ${asked} ${gone.length}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
    },
  });
  const targets = places(run.places, erasures);
  for (const [index, id] of targets.entries()) {
    await crowd.until(Math.floor((index * predictions) / erasures));
    const { deactivated } = await http.erase(id);
    gone.push(deactivated.map(({ stage }) => stage));
    await http.post('/v1/repair', '{}');
  }
  await crowd.until(predictions);
  await crowd.stop();
  http.close();
  await server.close();

  const ledger = await openLedger({ store: 'file:', folder: run.folder });
  const versions = await ledger.versions().finally(() => ledger.close());
  const stagesOf = new Map(
    versions.map(({ digest, manifest }) => {
      const { stacks } = manifest as { stacks: { stages: { id: string }[] }[] };
      return [digest, stacks.flatMap(({ stages }) => stages.map(({ id }) => id))];
    }),
  );
  const names = (manifest: string, erasures: number) => {
    const stages = stagesOf.get(manifest);
    if (!stages) throw new Error(`an answer has the manifest ${manifest}, which the run never had`);
    const dead = new Set(gone.slice(0, erasures).flat());
    return stages.some((id) => dead.has(id));
  };
  let [wrong, late] = [0, 0];
  for (const [key, count] of seen) {
    const [manifest, asked, read] = key.split(' ');
    if (names(manifest!, Number(asked))) wrong += count;
    if (names(manifest!, Number(read))) late += count;
  }
  return {
    ...{ predictions: crowd.answers, erasures: gone.length, wrong, late, unserved: crowd.unserved },
    cut: crowd.cut,
    manifests: new Set([...seen.keys()].map((key) => key.split(' ')[0])).size,
    repaired: versions.filter(({ reason }) => reason.startsWith('publish')).length,
  };
}

/** Records of the shards in turn, so that two of them answer while one is repaired. */
function places(all: readonly RecordPlace[], count: number): string[] {
  const shards = Array.from({ length: SHARDS }, (_, shard) => all.filter((place) => place.shard === shard));
  return Array.from({ length: count }, (_, index) => {
    const place = shards[index % SHARDS]![Math.floor(index / SHARDS)];
    if (!place) throw new Error(`the run has not enough records for ${count} erasures`);
    return place.id;
  });
}

/** Answers per second of one client that waits for each answer, and of many at once, in turns. */
export async function measureThroughput(
  url: string,
  bodies: readonly string[],
  { clients, rounds, seconds }: { clients: number; rounds: number; seconds: number },
): Promise<{ one: number; many: number; ratio: number }> {
  const http = new Http(url);
  const [one, many]: [number[], number[]] = [[], []];
  const rate = async (size: number): Promise<number> => {
    const crowd = new Crowd(http, size, bodies);
    await crowd.until(2 * size);
    const [before, began] = [crowd.answers, performance.now()];
    await pause(seconds * 1000);
    const found = ((crowd.answers - before) / (performance.now() - began)) * 1000;
    await crowd.stop();
    return found;
  };
  for (let round = 0; round < rounds; round++) {
    one.push(await rate(1));
    many.push(await rate(clients));
  }
  http.close();
  const ratios = many.map((rate, round) => rate / one[round]!);
  return { one: medianOf(one), many: medianOf(many), ratio: medianOf(ratios) };
}

/** Milliseconds from the start of a process to its first answer that it is ready. The first start fills the caches and does not count. */
export async function measureStarts(folder: string, starts: number): Promise<Latencies> {
  const times: number[] = [];
  for (let start = 0; start <= starts; start++) {
    const server = await Server.start(folder);
    if (start > 0) times.push(server.readyMs);
    await server.close();
  }
  return latenciesOf(times);
}
