import type { MnistDigit } from '@s3t/data';
import { type Client, connect } from '@s3t/server/client';
import type { Status } from '@s3t/unlearner';
import { renderMap, servedStages } from '../status-map.ts';
import { count, duration, percent, plural } from '../terminal/format.ts';
import { print } from '../terminal/print.ts';
import type { WorkResult } from '../work.ts';
import { s3t, startServer } from './child.ts';
import { chooseTargets, type Target } from './choose.ts';
import { type Erasure, eraseAll, findViolations } from './erasing.ts';
import { hangUp } from './http.ts';
import type { Report } from './report.ts';
import { BUSY, CONFIG, GENTLE, RECORDS_PER_ERASURE } from './settings.ts';
import { type Answered, measure, Traffic } from './traffic.ts';

/** What happened while the run was served. */
export interface Service {
  accuracy: Report['accuracy'];
  before: Status;
  afterErasure: Status;
  afterRepair: Status;
  erasures: readonly Erasure[];
  /** The answers given while records were erased. */
  answers: readonly Answered[];
  violations: number;
  repaired: WorkResult;
}

/** Serves the run, erases records under load, repairs, and checks every answer on the way. */
export async function serveAndErase(
  run: string,
  digits: readonly MnistDigit[],
  ids: string[],
): Promise<Service> {
  const server = await startServer(run, 0);
  try {
    return await use(server.url, run, digits, ids);
  } finally {
    hangUp();
    await server.stop();
  }
}

async function use(url: string, run: string, digits: readonly MnistDigit[], ids: string[]): Promise<Service> {
  const client = connect(url);
  const manifests = new Manifests(client);
  const before = await manifests.look();
  const accuracyBefore = await measure(url, digits);
  print(`${url}: ${percent(accuracyBefore)} of ${count(digits.length)} digits right`);

  const traffic = new Traffic(url, digits, () => void manifests.look().catch(() => {}));
  traffic.start(BUSY);
  const erasures = await eraseAll(url, targetsOf(before, ids), tell);
  await traffic.stop();
  const answers = [...traffic.answers];
  const afterErasure = await manifests.look();
  print(`\n${renderMap(afterErasure.shards)}\n`);
  const accuracyErased = await measure(url, digits);
  print(`${count(answers.length)} answers meanwhile; now ${percent(accuracyErased)} right`);

  traffic.start(GENTLE);
  const repaired = await s3t<WorkResult>('repair', '--run', run);
  await traffic.stop();
  const afterRepair = await manifests.look();
  const accuracyRepaired = await measure(url, digits);
  print(
    `${plural(repaired.trained, 'stage')} repaired in ${duration(repaired.seconds)}; ${percent(accuracyRepaired)} right`,
  );

  const violations = findViolations(traffic.answers, erasures, (manifest) =>
    manifests.stagesOf(manifest),
  ).length;
  const total = count(traffic.answers.length);
  print(`${total} answers in all, ${violations} of them from a stage that was no longer allowed to exist`);
  const accuracy = { before: accuracyBefore, afterErasure: accuracyErased, afterRepair: accuracyRepaired };
  return { accuracy, before, afterErasure, afterRepair, erasures, answers, violations, repaired };
}

/** The stages behind the manifests that were served. */
class Manifests {
  readonly #client: Client;
  readonly #stages: Map<string, ReadonlySet<string>> = new Map();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Takes note of the one served now. */
  async look(): Promise<Status> {
    const status = await this.#client.status();
    this.#stages.set(status.manifest, new Set(status.shards.flatMap((shard) => [...servedStages(shard)])));
    return status;
  }

  stagesOf(manifest: string): ReadonlySet<string> | undefined {
    return this.#stages.get(manifest);
  }
}

function targetsOf({ shards }: Status, ids: string[]): Target[] {
  const orders = shards[0]!.sequences.map(({ order }) => order);
  const partition = { shards: CONFIG.shards, slices: CONFIG.slices, seed: CONFIG.training.seed };
  return chooseTargets(orders, ids, partition, RECORDS_PER_ERASURE);
}

/** Says what an erasure did. */
function tell({ target, receipt }: Erasure): void {
  const { shard, slice, records } = target;
  const stages = new Set(receipt.deactivated.map(({ stage }) => stage)).size;
  const did = `${plural(records.length, 'record')} erased, ${plural(stages, 'stage')} deactivated`;
  print(`shard ${shard}, slice ${slice}: ${did}, acknowledged in ${receipt.acknowledgedMs.toFixed(0)} ms`);
}
