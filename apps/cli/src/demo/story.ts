import { rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Status } from '@s3t/unlearner';
import { count, duration, plural } from '../terminal/format.ts';
import { print } from '../terminal/print.ts';
import { paint } from '../terminal/style.ts';
import type { WorkResult } from '../work.ts';
import { runJson, s3t, startServer } from './child.ts';
import { type Comparison, compareRuns } from './compare.ts';
import { writeDigits } from './data.ts';
import type { Erasure } from './erasing.ts';
import { drawStory } from './picture.ts';
import { failures, type Report, writeReport } from './report.ts';
import { type Service, serveAndErase } from './service.ts';
import { BUSY, CONFIG } from './settings.ts';
import { claimFolder } from './workplace.ts';

export interface DemoOptions {
  /** Absolute. */
  folder: string;
  records: number;
  minAccuracy: number;
  keep?: boolean;
  serve?: boolean;
  port: number;
}

/** Runs the demo and returns what went wrong: nothing, if all is well. */
export async function runDemo(options: DemoOptions): Promise<string[]> {
  const started = performance.now();
  const { folder, records } = options;
  const config = await claimFolder(folder);
  chapter(`Data: ${count(records)} handwritten digits in ${shown(folder)} (the last demo there is removed)`);
  const digits = await writeDigits(folder, records);

  chapter(`Train: ${CONFIG.shards} shards x ${CONFIG.slices} slices, ${CONFIG.budget} sequences (s3t train)`);
  const trained = await s3t<WorkResult>('train', '--config', config, '--run', folder);
  print(`${plural(trained.trained, 'stage')} in ${duration(trained.seconds)}`);

  chapter(
    `Serve (s3t serve); erase from three slices while ${BUSY.clients} clients keep asking; repair (s3t repair)`,
  );
  const ids = Array.from({ length: records }, (_, row) => `train/${row}`);
  const service = await serveAndErase(folder, digits, ids);

  const shard = busiest(service.erasures);
  chapter(`Verify: shard ${shard} trained by another process in a fresh run, without the erased records`);
  const verify = await verifyAfresh(service, {
    config,
    folder,
    shards: [shard],
    keep: options.keep === true,
  });

  const { accuracy, violations, repaired } = service;
  const report: Report = {
    accuracy,
    erasures: service.erasures.map(({ receipt: { records, acknowledgedMs, deactivated } }) => {
      return { records, acknowledgedMs, deactivated };
    }),
    violations,
    verify,
    seconds: {
      train: trained.seconds,
      repair: repaired.seconds,
      total: (performance.now() - started) / 1000,
    },
  };
  const picture = join(folder, 'report.svg');
  await writeFile(picture, `${drawStory({ ...service, report, verifiedShards: [shard] })}\n`);
  chapter(
    `Done in ${duration(report.seconds.total)}: ${shown(await writeReport(folder, report))}, ${shown(picture)}`,
  );
  if (options.serve) await serveOn(folder, options.port);
  return failures(report, options.minAccuracy);
}

/** The shard that lost most stages. */
function busiest(erasures: readonly Erasure[]): number {
  const [most] = [...erasures].sort((a, b) => b.receipt.deactivated.length - a.receipt.deactivated.length);
  return most!.target.shard;
}

/** Compares the repaired run with one that never saw the erased records. */
async function verifyAfresh(
  { erasures, afterRepair }: Service,
  { config, folder, shards, keep }: { config: string; folder: string; shards: number[]; keep: boolean },
): Promise<Comparison> {
  const fresh = join(folder, 'verify');
  const ids = erasures.flatMap(({ target }) => target.records);
  const status = await runJson<Status>('the training without the records', './retrain.ts', [
    config,
    fresh,
    JSON.stringify(shards),
    JSON.stringify(ids),
  ]);
  const verify = await compareRuns({ folder, status: afterRepair }, { folder: fresh, status }, shards);
  print(
    `${plural(verify.compared, 'stage')} compared: ${verify.identical ? 'identical, every byte' : 'DIFFERENT'}`,
  );
  if (!keep) await rm(fresh, { recursive: true, force: true });
  return verify;
}

async function serveOn(folder: string, port: number): Promise<void> {
  const { url, ended } = await startServer(folder, port);
  print(`The run is served at ${url} until you press Ctrl-C.`);
  await ended;
}

function chapter(title: string): void {
  print(`\n${paint('bold', title)}`);
}

function shown(path: string): string {
  const near = relative('.', path);
  return near.startsWith('..') ? path : near;
}
