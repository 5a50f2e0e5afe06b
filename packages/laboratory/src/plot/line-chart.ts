import { drawing, element, text } from './svg.ts';

export interface Line {
  name: string;
  points: readonly (readonly [x: number, y: number])[];
  /** What theory says is a line, what was measured are dots on one. Default: a line. */
  dots?: boolean;
}

export interface LineChart {
  title: string;
  x: string;
  y: string;
  lines: readonly Line[];
  /** Where the upright axis starts: at 0, or at the lowest value there is. Below 0 either way where a value is. Default: zero. */
  from?: 'zero' | 'lowest';
}

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 76;
const RIGHT = 24;
const TOP = 64;
const BOTTOM = 56;
const LEGEND_ROW = 20;
const COLORS = ['#2f7d5b', '#c2502f', '#2b6cb0', '#b7791f', '#6b46c1', '#52606d'];
const GREY = '#52606d';

/** Lines over a plane, their names below. A point without a place, as of what was measured and is no number, is left out. */
export function lineChart({ title, x, y, lines: given, from = 'zero' }: LineChart): string {
  const lines = given.map((line) => ({
    ...line,
    points: line.points.filter((at) => at.every(Number.isFinite)),
  }));
  const points = lines.flatMap((line) => line.points);
  const across = ticks(
    points.map(([value]) => value),
    'zero',
  );
  const up = ticks(
    points.map(([, value]) => value),
    from,
  );
  const bottom = HEIGHT - BOTTOM;
  const px = (value: number): number => LEFT + shareOf(across, value) * (WIDTH - LEFT - RIGHT);
  const py = (value: number): number => bottom - shareOf(up, value) * (bottom - TOP);
  const label = { size: 12, color: GREY };
  return drawing(WIDTH, HEIGHT + Math.ceil(lines.length / 2) * LEGEND_ROW + 8, title, [
    // It may hold the name of a folder: a long one gets smaller, and is not cut off. A bold letter is about 0.65 of its size wide.
    text(LEFT, 30, title, {
      size: Math.min(17, (WIDTH - LEFT - RIGHT) / (0.65 * title.length)),
      weight: 600,
    }),
    text(LEFT, 50, y, label),
    text(WIDTH - RIGHT, HEIGHT - 14, x, { ...label, anchor: 'end' }),
    ...up.flatMap((value) => [
      element('path', {
        d: `M${LEFT} ${py(value).toFixed(1)}H${WIDTH - RIGHT}`,
        // Where values lie on both sides of it, nothing is what the eye looks for.
        stroke: value === 0 && up[0]! < 0 ? GREY : '#e4e7eb',
      }),
      text(LEFT - 8, py(value) + 4, tickLabel(value), { ...label, anchor: 'end' }),
    ]),
    ...across.map((value) => text(px(value), bottom + 20, tickLabel(value), { ...label, anchor: 'middle' })),
    ...lines.flatMap((line, i) => draw(line, COLORS[i % COLORS.length]!, px, py)),
    ...lines.flatMap(({ name, dots }, i) => {
      const at = LEFT + (i % 2) * ((WIDTH - LEFT) / 2);
      const row = HEIGHT + Math.floor(i / 2) * LEGEND_ROW;
      const color = COLORS[i % COLORS.length]!;
      return [mark(at, at + 22, row, color, dots), text(at + 30, row + 4, name, { size: 12.5 })];
    }),
  ]);
}

function draw(
  { points, dots }: Line,
  color: string,
  px: (x: number) => number,
  py: (y: number) => number,
): string[] {
  const places = points.map(([x, y]) => [px(x), py(y)] as const);
  const d = places.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
  const line = element('path', { d, fill: 'none', stroke: color, 'stroke-width': dots ? 1 : 2 });
  // A line of one point would not be seen.
  return dots || places.length === 1 ? [line, ...places.map(([cx, cy]) => dot(cx, cy, color))] : [line];
}

function mark(from: number, to: number, y: number, color: string, dots: boolean | undefined): string {
  const line = element('path', { d: `M${from} ${y}H${to}`, stroke: color, 'stroke-width': dots ? 1 : 2 });
  return dots ? line + dot((from + to) / 2, y, color) : line;
}

const dot = (cx: number, cy: number, fill: string): string => element('circle', { cx, cy, r: 3.5, fill });

/** Round numbers that hold all values, and 0 unless the lowest of them is to begin with: four to eight, or a few more round it. */
export function ticks(values: readonly number[], from: 'zero' | 'lowest'): number[] {
  const ends = from === 'zero' || values.length === 0 ? [0, ...values] : values;
  const lowest = Math.min(...ends);
  const span = Math.max(...ends) - lowest;
  // One value alone has room above it.
  const rough = (span > 0 ? span : Math.abs(lowest) || 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9))! * power;
  const first = Math.floor(lowest / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil((lowest + (span || rough * 5)) / step - 1e-9));
  // Not -0.
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step + 0);
}

/** Where between the first and the last tick. */
const shareOf = (marks: readonly number[], value: number): number =>
  (value - marks[0]!) / (marks.at(-1)! - marks[0]!);

const tickLabel = (value: number): string =>
  Number(value.toPrecision(10)).toLocaleString('en-US', { maximumFractionDigits: 10 });
