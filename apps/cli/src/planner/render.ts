import type { Plan } from '@s3t/algorithm';
import type { LineChart } from '@s3t/laboratory/plot';
import { bytes, count, duration, percent, plural } from '../terminal/format.ts';
import { facts, right, table } from '../terminal/table.ts';
import { policyName } from './policies.ts';

/** What a limit that is broken is called in the table. */
const BREAKS: Record<Plan['breaks'][number], string> = {
  trainingLoad: 'load',
  availability: 'availability',
  loss: 'loss',
};

/** The same shape, whatever its repair policy. */
const isSameShape = (a: Plan, b: Plan): boolean =>
  a.shards === b.shards && a.slices === b.slices && a.budget === b.budget && a.strategy === b.strategy;

/** What to show beside the best plan: its shape under the other policies, and the best plan of every other number of shards. */
export function alternativesOf([best, ...rest]: readonly Plan[]): Plan[] {
  if (best === undefined) return [];
  const seen = new Set([best.shards]);
  const others = rest.filter(({ shards }) => !seen.has(shards) && seen.add(shards));
  return [...rest.filter((plan) => isSameShape(plan, best)), ...others.sort((a, b) => a.shards - b.shards)];
}

/** The plan in words and numbers; `isAccuracy`: whether the loss is one of accuracy. */
export function renderPlan(
  best: Plan,
  alternatives: readonly Plan[],
  isAccuracy: boolean,
  days: number,
): string {
  const { expected, slices } = best;
  const lossName = isAccuracy ? 'accuracy loss' : 'depth loss';
  const verdict =
    best.breaks.length === 0
      ? []
      : [
          `No plan keeps all limits; this one breaks: ${best.breaks.map((name) => BREAKS[name]).join(', ')}.`,
          '',
        ];
  return [
    ...verdict,
    facts([
      ['shards', String(best.shards)],
      ['slices', String(slices)],
      ['budget', `${best.budget}   ${best.strategy}`],
      ['repair', policyName(best.policy)],
      ['availability', percent(expected.availability, 3)],
      [
        'served depth',
        `${expected.meanDepth.toFixed(2)} of ${slices} on average; everything ${percent(expected.completeness, 1)} of the time`,
      ],
      [
        lossName,
        percent(best.loss, 2) + (isAccuracy ? ` (expected accuracy ${expected.value.toFixed(4)})` : ''),
      ],
      [
        'training',
        `${duration(best.trainSeconds)} at first, then ${percent(expected.trainingLoad, 1)} of the time`,
      ],
      ['storage', `${bytes(best.storageBytes)} in ${plural(best.stages, 'stage')}`],
      ['without repair', `${best.deletionRate.toFixed(1)} erasures until nothing is served (Lemma 1)`],
    ]),
    '',
    renderTable([best, ...alternatives]),
    '',
    `Simulated: ${count(Math.round(expected.erasures))} erasures in ${Number(days.toPrecision(3))} days. The first line is the plan.`,
  ].join('\n');
}

function renderTable(plans: readonly Plan[]): string {
  const columns = [
    ...['shards', 'slices', 'budget'].map(right),
    { title: 'strategy' },
    { title: 'repair' },
    ...['depth', 'loss', 'available', 'load', 'storage', 'first training', 'deletion rate'].map(right),
    { title: 'breaks' },
  ];
  return table(
    columns,
    plans.map(({ expected, ...plan }) => [
      String(plan.shards),
      String(plan.slices),
      String(plan.budget),
      plan.strategy,
      policyName(plan.policy),
      expected.meanDepth.toFixed(2),
      percent(plan.loss, 2),
      percent(expected.availability, 2),
      percent(expected.trainingLoad, 1),
      bytes(plan.storageBytes),
      duration(plan.trainSeconds),
      plan.deletionRate.toFixed(1),
      plan.breaks.map((name) => BREAKS[name]).join(', '),
    ]),
  );
}

/** The depth served over time: the plan, and its shape under the other policies. */
export function planChart(plans: readonly Plan[]): LineChart {
  const [best] = plans;
  const shape = plans.filter((plan) => isSameShape(plan, best!));
  return {
    title: 'Depth served over time',
    // Policies differ by tenths.
    from: 'lowest',
    x: 'days',
    y: `mean depth of a shard: m = ${best!.shards}, L = ${best!.slices}, B = ${best!.budget}, ${best!.strategy}`,
    lines: shape.map(({ policy, expected }) => ({
      name: policyName(policy),
      points: [
        [0, best!.slices] as const,
        ...expected.depthOverTime.map(({ day, depth }) => [day, depth] as const),
      ],
    })),
  };
}
