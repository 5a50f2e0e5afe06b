import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  keyFromSeed,
  lira,
  type MembershipReport,
  type MembershipTrial,
  membershipReport,
  PhiloxStream,
} from '@s3t/algorithm';
import { Device } from '@s3t/engine';
import { UnlearnerError } from './errors.ts';
import { AUDIT_COPY, RUN_FILE } from './open-run.ts';
import { type ReadRun, readLedger, readStatus, statusIn } from './read-run.ts';
import type { StackConfidences } from './stack-confidences.ts';
import type { RecordPlace, UnlearnerEvent } from './types.ts';
import { Unlearner } from './unlearner.ts';

/** When the attack is tried: before the erasure, right after it, and once the run is repaired. */
export type AuditMoment = 'before' | 'after' | 'retrained';

export interface AuditOptions {
  /** The run folder; what is in it is not changed. */
  run: string;
  /** Ids of the records to erase. Left out, `sample` of them are drawn. */
  records?: readonly string[];
  /** How many records to draw, from one slice of each shard. Default: 200, or all that lie there. */
  sample?: number;
  seed?: number;
  /** Share of records that were never learnt from which the attack may take for members. Default 0.01. */
  fpr?: number;
  /** Of the bootstrap. Default 1000. */
  resamples?: number;
  device?: Device;
  signal?: AbortSignal;
  onMoment?: (moment: AuditMoment) => void;
  on?: (event: UnlearnerEvent) => void;
}

/** The word that keeps this use of a seed apart from others. */
const AUDIT = 8;

export interface AuditReport {
  /** Erased records. */
  records: number;
  /** Records of the evaluation data, which nothing learnt from. */
  controls: number;
  /** Shadow stacks of each trial, on average. */
  shadows: number;
  moments: {
    moment: AuditMoment;
    /** By shard. */
    depths: number[];
    /** Null where none of the attacked shards serves anything. */
    attack: MembershipReport | null;
  }[];
}

/**
 * Tries to tell from a run's answers what it learnt from: membership inference on records before they are erased, after it, and after the
 * repair, in a copy of the run that is removed again. The run is held all the while: no erasure is acknowledged that the copy still answers from.
 *
 * The attack is LiRA without shadow models that learnt from the record (offline). The model under attack is a shard's stack, for each of
 * the records that this shard gives up; shadow models are the stacks of the same depth of the other shards, which never see them. Controls are
 * the evaluation records, put to the same stacks against the same shadows. So without influence a record and a control differ in nothing,
 * and the area is 0.5. The trie holds stacks of the record's own shard with and without it, too, but they share the shard's other records
 * with the stack under attack: an attack that used them would recognise the shard and call it the record.
 * @throws UnlearnerError `usage` for what cannot be audited, `held` while another process has the run
 */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  const { run: folder, signal } = options;
  // What a crash left of an erasure is finished first.
  if ((await readStatus(folder)) === null)
    await (await Unlearner.open({ run: folder, device: options.device })).close();
  return readLedger(folder, async (parts) => {
    await checkRun(folder, parts);
    const copy = join(folder, AUDIT_COPY);
    await rm(copy, { recursive: true, force: true });
    try {
      // As a backup, for the database may not be written to while it is copied. No keys.
      await parts.ledger.backup(copy, { files: [RUN_FILE], signal });
      const device = options.device ?? (await Device.open());
      try {
        await using run = await Unlearner.open({ run: copy, device });
        return await attacked(run, options);
      } finally {
        if (!options.device) device.close();
      }
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  });
}

/** @param run the copy */
async function attacked(run: Unlearner, options: AuditOptions): Promise<AuditReport> {
  const { seed = 1, fpr, resamples, signal } = options;
  if (options.on) run.on(options.on);
  const ids = options.records ?? draw(await run.placements(), run, options.sample ?? 200, seed);
  const shadows = await run.stackConfidences(ids, 'all');
  const moments: AuditReport['moments'] = [];
  let shadowsPerTrial = 0;
  const look = async (moment: AuditMoment): Promise<void> => {
    signal?.throwIfAborted();
    options.onMoment?.(moment);
    const { stacks } = await run.stackConfidences(ids, 'served');
    const trials = trialsOf(shadows.places, stacks, shadows.stacks);
    const isAttacked = trials.some(({ isMember }) => isMember);
    if (isAttacked)
      shadowsPerTrial = trials.reduce((sum, { outside }) => sum + outside.length, 0) / trials.length;
    moments.push({
      moment,
      depths: Array.from(
        { length: run.config.shards },
        (_, shard) => stacks.find((stack) => stack.shard === shard)?.depth ?? 0,
      ),
      attack: isAttacked ? membershipReport(trials, lira(trials), { fpr, resamples, seed }) : null,
    });
  };
  await look('before');
  await run.erase(ids);
  await look('after');
  await run.repair({ signal });
  await look('retrained');
  const controls = shadows.stacks[0]!.confidences.length - ids.length;
  return { records: ids.length, controls, shadows: shadowsPerTrial, moments };
}

/** What makes no audit, said before anything is copied. */
async function checkRun(folder: string, parts: ReadRun): Promise<void> {
  const { shards, store, data } = parts.located.config;
  const refuse = (problem: string): never => {
    throw new UnlearnerError('usage', `${folder}: ${problem}`);
  };
  if (shards < 2) refuse('shards: an audit takes two at least: the others are the shadow models');
  if (store !== 'file:')
    refuse(
      `store: an audit works on a copy, and a ledger in ${store.split(':')[0]}: is not in the run folder`,
    );
  if (data.eval === undefined) refuse('data.eval: an audit needs records that nothing learnt from');
  const { missing } = await statusIn(parts);
  if (missing > 0) refuse(`${missing} stages are missing; train or repair the run first`);
}

/** Records of one slice of each shard, as many of each as of the others: the slice whose loss leaves most to serve. */
function draw(places: readonly RecordPlace[], run: Unlearner, sample: number, seed: number): string[] {
  const { shards } = run.config;
  const orders = run.sequences;
  const left = (slice: number) => Math.max(...orders.map((order) => order.indexOf(slice)));
  const slices = orders[0]!.toSorted((a, b) => left(b) - left(a) || a - b);
  const random = new PhiloxStream(keyFromSeed(seed), [0, AUDIT]);
  return Array.from({ length: shards }, (_, shard) => {
    const own = places.filter((place) => place.shard === shard && place.slice === slices[0]);
    const most = Math.floor((sample * (shard + 1)) / shards) - Math.floor((sample * shard) / shards);
    return random.shuffle(own.map(({ id }) => id)).slice(0, most);
  }).flat();
}

/** The questions of one moment: of each erased record to its own shard's stack, and of each control to the stacks of all these shards. */
function trialsOf(
  places: readonly RecordPlace[],
  served: readonly StackConfidences[],
  shadows: readonly StackConfidences[],
): MembershipTrial[] {
  const trials: MembershipTrial[] = [];
  for (const { shard, depth, confidences } of served) {
    const members = [...places.keys()].filter((at) => places[at]!.shard === shard);
    if (members.length === 0) continue;
    const others = shadows.filter((shadow) => shadow.shard !== shard && shadow.depth === depth);
    const ask = (at: number, isMember: boolean) =>
      trials.push({
        observed: confidences[at]!,
        outside: others.map((shadow) => shadow.confidences[at]!),
        group: at,
        isMember,
      });
    for (const at of members) ask(at, true);
    for (let at = places.length; at < confidences.length; at++) ask(at, false);
  }
  return trials;
}
