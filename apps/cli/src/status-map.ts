import { harmonic } from '@s3t/algorithm';
import type { ShardStatus, Status } from '@s3t/unlearner';
import { policyName } from './planner/policies.ts';
import { count, plural, short } from './terminal/format.ts';
import { paint } from './terminal/style.ts';
import { facts, table } from './terminal/table.ts';

/** What a stage is to the service right now. */
export type StageState = 'served' | 'active' | 'missing';

const SYMBOLS: Record<StageState, string> = { served: '●', active: '○', missing: '·' };

/** The ids of the stages that a shard answers with. */
export function servedStages({ servedSequence, servedDepth, sequences }: ShardStatus): Set<string> {
  const stages = servedSequence === null ? [] : (sequences[servedSequence]?.stages ?? []);
  return new Set(stages.slice(0, servedDepth).map(({ stage }) => stage));
}

/** The state of every stage: `[sequence][position]`. Sequences that share a prefix share its stages. */
export function stageStates(shard: ShardStatus): StageState[][] {
  const served = servedStages(shard);
  return shard.sequences.map(({ stages }) =>
    stages.map(({ stage, active }) => (!active ? 'missing' : served.has(stage) ? 'served' : 'active')),
  );
}

/**
 * How many more uniformly random erasures the ensemble is expected to survive, the last one counted, from where it stands: Lemma 1's coupon
 * collector over the first slices that still carry an active stage.
 */
export function expectedErasuresLeft({ shards }: Status): number {
  const slices = shards[0]?.sequences[0]?.order.length ?? 0;
  const open = shards.map(
    ({ sequences }) =>
      new Set(sequences.filter(({ stages }) => stages[0]?.active).map(({ order }) => order[0])).size,
  );
  return shards.length * slices * harmonic(open.reduce((sum, size) => sum + size, 0));
}

/** The status for people: facts, then the map of shards, sequences and positions. */
export function renderStatus(status: Status, run: string): string {
  const missing =
    status.missing === 0 ? 'complete' : `${plural(status.missing, 'stage')} missing (s3t repair)`;
  const left = expectedErasuresLeft(status);
  return [
    facts([
      ['run', run],
      ['version', `${status.version}   manifest ${short(status.manifest)}`],
      ['records', `${count(status.records)}   erased ${count(status.erased)}`],
      ['training', missing],
      ['repair', repairLine(status.repair)],
      ['erasures left', `${left.toFixed(1)} expected (full ensemble ${status.deletionRate.toFixed(1)})`],
    ]),
    '',
    renderMap(status.shards),
    '',
    paint(
      'dim',
      `${SYMBOLS.served} served  ${SYMBOLS.active} trained  ${SYMBOLS.missing} missing; the numbers are slices`,
    ),
  ].join('\n');
}

/** The policy, what waits for it, and when it is due. */
function repairLine({ policy: { policy: kind, ...size }, pending, isDue, dueAt }: Status['repair']): string {
  const name = policyName({ kind, ...size });
  if (pending === 0) return `${name}   nothing waits`;
  const due = isDue ? ', due now' : dueAt === null ? '' : `, due ${new Date(dueAt).toISOString()}`;
  return `${name}   ${plural(pending, 'erased record')} waiting${due}`;
}

/** One line per sequence: which shard, what it serves, its slices in order with the state of their stages. */
export function renderMap(shards: readonly ShardStatus[]): string {
  const positions = shards[0]?.sequences[0]?.order.length ?? 0;
  const columns = [
    { title: 'shard', align: 'right' as const },
    { title: 'serves' },
    { title: 'sequence', align: 'right' as const },
    ...Array.from({ length: positions }, (_, position) => ({ title: `p${position}` })),
  ];
  const rows = shards.flatMap((shard) => {
    const states = stageStates(shard);
    return shard.sequences.map(({ order }, sequence) => [
      sequence === 0 ? String(shard.shard) : '',
      sequence === 0 ? `${shard.servedDepth} of ${positions}` : '',
      String(sequence),
      ...order.map((slice, position) => cell(states[sequence]?.[position] ?? 'missing', slice)),
    ]);
  });
  return table(columns, rows);
}

function cell(state: StageState, slice: number): string {
  const text = `${SYMBOLS[state]} ${slice}`;
  return state === 'served' ? paint('green', text) : state === 'missing' ? paint('dim', text) : text;
}
