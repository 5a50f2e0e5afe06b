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

/** Lines over a plane that starts at 0 in both directions, their names below. At least one point must be there. */
export function lineChart({ title, x, y, lines }: LineChart): string {
  const points = lines.flatMap((line) => line.points);
  const across = ticks(Math.max(...points.map(([value]) => value)));
  const up = ticks(Math.max(...points.map(([, value]) => value)));
  const bottom = HEIGHT - BOTTOM;
  const px = (value: number): number => LEFT + (value / across.at(-1)!) * (WIDTH - LEFT - RIGHT);
  const py = (value: number): number => bottom - (value / up.at(-1)!) * (bottom - TOP);
  const label = { size: 12, color: GREY };
  return drawing(WIDTH, HEIGHT + Math.ceil(lines.length / 2) * LEGEND_ROW + 8, title, [
    text(LEFT, 30, title, { size: 17, weight: 600 }),
    text(LEFT, 50, y, label),
    text(WIDTH - RIGHT, HEIGHT - 14, x, { ...label, anchor: 'end' }),
    ...up.flatMap((value) => [
      element('path', { d: `M${LEFT} ${py(value).toFixed(1)}H${WIDTH - RIGHT}`, stroke: '#e4e7eb' }),
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
  return dots ? [line, ...places.map(([cx, cy]) => dot(cx, cy, color))] : [line];
}

function mark(from: number, to: number, y: number, color: string, dots: boolean | undefined): string {
  const line = element('path', { d: `M${from} ${y}H${to}`, stroke: color, 'stroke-width': dots ? 1 : 2 });
  return dots ? line + dot((from + to) / 2, y, color) : line;
}

const dot = (cx: number, cy: number, fill: string): string => element('circle', { cx, cy, r: 3.5, fill });

/** 0 and further round numbers, four to eight of them, the last one not below `highest`. */
function ticks(highest: number): number[] {
  const rough = (highest > 0 ? highest : 1) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9))! * power;
  const count = Math.ceil((highest > 0 ? highest : 1) / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => i * step);
}

const tickLabel = (value: number): string =>
  Number(value.toPrecision(10)).toLocaleString('en-US', { maximumFractionDigits: 10 });
