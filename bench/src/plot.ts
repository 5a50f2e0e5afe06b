import { drawing, element, text } from '@s3t/laboratory/plot';
import type { Row } from './measure.ts';

const COLORS = ['#0b7a75', '#7fb7b2', '#d1495b', '#edae49', '#5b6c8f'];
const GREY = '#52606d';
const [LEFT, RIGHT, TOP, LINE, WIDTH] = [330, 30, 92, 22, 900];

/** Every case a line, every engine a dot: how many times the time of the first engine it takes, on a logarithmic axis. */
export function plot(rows: readonly Row[], subtitle: string): string {
  const engines = [...new Set(rows.map(({ engine }) => engine))].filter((name) =>
    rows.some(({ engine, bench, ms }) => engine === name && bench !== 'replay' && ms !== null),
  );
  const first = engines[0]!;
  const timed = rows.filter(({ bench, ms }) => bench !== 'replay' && ms !== null);
  const lines = [...new Set(timed.map(({ shape }) => shape))].flatMap((shape) => {
    const of = timed.filter((row) => row.shape === shape);
    const own = of.find(({ engine }) => engine === first)?.ms;
    if (!own || of.length < 2) return [];
    return [{ shape, note: of[0]!.note, ratios: of.map(({ engine, ms }) => ({ engine, ratio: ms! / own })) }];
  });
  const ratios = lines.flatMap(({ ratios: each }) => each.map(({ ratio }) => ratio));
  const [low, high] = [Math.min(0.5, ...ratios), Math.max(10, ...ratios) * 1.15];
  const x = (ratio: number) =>
    LEFT + ((Math.log(ratio) - Math.log(low)) / (Math.log(high) - Math.log(low))) * (WIDTH - LEFT - RIGHT);
  const bottom = TOP + lines.length * LINE;
  const ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200].filter((tick) => tick >= low && tick <= high);
  const content = [
    text(20, 28, `Time relative to ${first} (left is faster)`, { size: 17, weight: 600 }),
    text(20, 48, subtitle, { size: 12, color: GREY }),
    ...engines.flatMap((name, i) => [
      element('circle', { cx: 26 + i * 130, cy: 66, r: 5, fill: COLORS[i]! }),
      text(36 + i * 130, 70, name, { size: 12 }),
    ]),
    ...ticks.flatMap((tick) => [
      element('path', {
        d: `M${x(tick).toFixed(1)} ${TOP - 8}V${bottom}`,
        stroke: tick === 1 ? GREY : '#e4e7eb',
      }),
      text(x(tick), bottom + 18, `${tick}x`, { size: 12, color: GREY, anchor: 'middle' }),
    ]),
    ...lines.flatMap(({ shape, note, ratios: each }, i) => {
      const y = TOP + (i + 0.5) * LINE;
      const label = note.length + shape.length > 52 ? note : `${note}: ${shape}`;
      return [
        text(LEFT - 12, y + 4, label, { size: 11, anchor: 'end' }),
        ...each.map(({ engine, ratio }) =>
          element('circle', { cx: x(ratio), cy: y, r: 5, fill: COLORS[engines.indexOf(engine)]! }),
        ),
      ];
    }),
  ];
  return `${drawing(WIDTH, bottom + 34, 'Time of each engine relative to this one', content)}\n`;
}
