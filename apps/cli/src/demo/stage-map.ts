import { element, text } from '@s3t/laboratory/plot';
import type { Status } from '@s3t/unlearner';
import { stageStates } from '../status-map.ts';

/** How a stage is drawn: what it is to the service, and what became of it since the panel before. */
export type CellKind = 'served' | 'active' | 'deactivated' | 'repairedServed' | 'repairedActive' | 'missing';

interface CellStyle {
  fill: string;
  stroke: string;
  color: string;
  dash?: string;
}

const CELL_STYLES: Record<CellKind, CellStyle> = {
  served: { fill: '#2f7d5b', stroke: '#2f7d5b', color: '#ffffff' },
  active: { fill: '#dceee4', stroke: '#a9cfba', color: '#2c5a45' },
  deactivated: { fill: '#fdeae4', stroke: '#d0694b', color: '#b14a2c', dash: '3 3' },
  repairedServed: { fill: '#2f6496', stroke: '#2f6496', color: '#ffffff' },
  repairedActive: { fill: '#deebf7', stroke: '#a5c4e0', color: '#274f76' },
  missing: { fill: '#ffffff', stroke: '#c4ccd4', color: '#8a95a1', dash: '3 3' },
};

const CELL = { width: 50, height: 26, gap: 4 };
const SHARD_GAP = 18;

/** How tall a map of so many shards and sequences is. */
export function mapHeight(shards: number, sequences: number): number {
  return shards * (18 + sequences * (CELL.height + CELL.gap) + SHARD_GAP) - SHARD_GAP;
}

/** Shards x sequences x positions; every cell shows the number of its slice. `before`: the state that changes are shown against. */
export function stageMap(x: number, y: number, status: Status, before: Status | undefined): string[] {
  const parts: string[] = [];
  let top = y;
  for (const shard of status.shards) {
    const states = stageStates(shard);
    const positions = shard.sequences[0]?.order.length ?? 0;
    parts.push(
      text(x, top + 11, `shard ${shard.shard}`, { size: 12, weight: 600 }),
      text(
        x + positions * (CELL.width + CELL.gap) - CELL.gap,
        top + 11,
        `serves ${shard.servedDepth} of ${positions}`,
        {
          size: 12,
          color: '#52606d',
          anchor: 'end',
        },
      ),
    );
    top += 18;
    for (const [sequence, { order, stages }] of shard.sequences.entries()) {
      for (const [position, slice] of order.entries()) {
        const earlier = before?.shards[shard.shard]?.sequences[sequence]?.stages[position];
        const kind = kindOf(states[sequence]![position]!, stages[position]!.stage, earlier);
        parts.push(...cell(x + position * (CELL.width + CELL.gap), top, slice, kind));
      }
      top += CELL.height + CELL.gap;
    }
    top += SHARD_GAP;
  }
  return parts;
}

/** A stage's id changes when its records do: that is how a repaired one is told. */
function kindOf(
  state: 'served' | 'active' | 'missing',
  stage: string,
  before: { stage: string; active: boolean } | undefined,
): CellKind {
  if (state === 'missing') return before?.active ? 'deactivated' : 'missing';
  const repaired = before !== undefined && before.stage !== stage;
  if (state === 'served') return repaired ? 'repairedServed' : 'served';
  return repaired ? 'repairedActive' : 'active';
}

function cell(x: number, y: number, slice: number, kind: CellKind): string[] {
  return [
    swatch(x, y, CELL.width, CELL.height, kind),
    text(x + CELL.width / 2, y + 17.5, String(slice), { color: CELL_STYLES[kind].color, anchor: 'middle' }),
  ];
}

export function swatch(x: number, y: number, width: number, height: number, kind: CellKind): string {
  const { fill, stroke, dash } = CELL_STYLES[kind];
  return element('rect', { x, y, width, height, rx: 4, fill, stroke, 'stroke-dasharray': dash });
}
