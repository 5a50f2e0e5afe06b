import { element, text } from '@s3t/laboratory/plot';
import type { Erasure } from './erasing.ts';
import type { Answered } from './traffic.ts';

const LANE = 20;
/** Room for what the lines stand for. */
const HEAD = 42;
const LABELS = 96;

/** How tall a strip with so many lanes is. */
export const stripHeight = (erasures: number): number => HEAD + (erasures + 1) * LANE + 26;

/**
 * Every answer while records were erased, as a tick in the lane of the version it came from. A line marks each acknowledgement: left of it the old
 * version answers, right of it nothing but the new one may.
 */
export function answerStrip(
  x: number,
  y: number,
  width: number,
  answers: readonly Answered[],
  erasures: readonly Erasure[],
): string[] {
  const start = answers[0]?.receivedAt ?? 0;
  const end = Math.max(
    ...answers.map(({ receivedAt }) => receivedAt),
    ...erasures.map((one) => one.acknowledgedAt),
  );
  const left = x + LABELS;
  const scale = (width - LABELS) / Math.max(1, end - start);
  const at = (time: number): number => left + (time - start) * scale;
  const versions = [...new Set(answers.map(({ version }) => version))].sort((a, b) => a - b);
  const top = y + HEAD;
  const bottom = top + versions.length * LANE;
  const parts: string[] = [];
  versions.forEach((version, lane) => {
    const middle = top + (lane + 0.5) * LANE;
    const own = answers.filter((answer) => answer.version === version);
    const ticks = own.map(({ receivedAt }) => `M${at(receivedAt).toFixed(1)} ${middle - 6}v12`).join('');
    parts.push(
      text(x, middle + 4, `version ${version}`, { size: 12, color: '#52606d' }),
      element('path', { d: `M${left} ${middle}H${x + width}`, stroke: '#eef1f4' }),
      element('path', { d: ticks, stroke: '#2f7d5b', 'stroke-width': 1.5, 'stroke-opacity': 0.8 }),
    );
  });
  for (const { acknowledgedAt, receipt, target } of erasures) {
    const line = at(acknowledgedAt);
    parts.push(
      element('path', {
        d: `M${line.toFixed(1)} ${top - 38}V${bottom + 2}`,
        stroke: '#c2502f',
        'stroke-width': 1.5,
      }),
      ...[
        `shard ${target.shard}, slice ${target.slice}`,
        `acknowledged in ${receipt.acknowledgedMs.toFixed(0)} ms`,
      ].map((label, row) => text(line + 6, y + 14 + row * 15, label, { size: 11.5, color: '#b14a2c' })),
    );
  }
  parts.push(
    text(left, bottom + 20, '0 s', { size: 11, color: '#7b8794' }),
    text(x + width, bottom + 20, `${((end - start) / 1000).toFixed(1)} s`, {
      size: 11,
      color: '#7b8794',
      anchor: 'end',
    }),
  );
  return parts;
}
