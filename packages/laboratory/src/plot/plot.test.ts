import sharp from 'sharp';
import { expect, test } from 'vitest';
import { type LineChart, lineChart, ticks } from './line-chart.ts';
import { drawing, element, text } from './svg.ts';

const chart = (points: [number, number][], from?: LineChart['from']): LineChart => ({
  ...{ title: 'a < b', x: 'deletions', y: 'matthews', from },
  lines: [{ name: 'S3T', points }],
});

/** Where each point is drawn. */
const places = (svg: string): number[][] =>
  /<path d="(M[\d. L-]+)" fill="none"/
    .exec(svg)![1]!
    .slice(1)
    .split('L')
    .map((pair) => pair.split(' ').map(Number));

test('ticks: round numbers that hold all values', () => {
  expect(ticks([0, 0.97], 'zero')).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  expect(ticks([-0.3, 0.9], 'zero').map((value) => Number(value.toFixed(6)))).toEqual([
    -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1,
  ]);
  expect(ticks([-7, -2], 'zero')).toEqual([-8, -6, -4, -2, 0]);
  expect(ticks([3.81, 4], 'lowest').map((value) => Number(value.toFixed(6)))).toEqual([
    3.8, 3.85, 3.9, 3.95, 4,
  ]);
  expect(ticks([0], 'zero')).toEqual([0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  for (const flat of [ticks([5, 5], 'lowest'), ticks([-5], 'lowest')])
    expect(flat.at(-1)!).toBeGreaterThan(flat[0]!);
});

test('values below 0 lie in the plane, below the line of 0', () => {
  const svg = lineChart(
    chart([
      [0, 0.5],
      [10, -0.25],
    ]),
  );
  const [[, above], [, below]] = places(svg) as [[number, number], [number, number]];
  const zero = Number(/d="M76 ([\d.]+)H736" stroke="#52606d"/.exec(svg)![1]);
  expect(above).toBeLessThan(zero);
  expect(below).toBeGreaterThan(zero);
  expect(below).toBeLessThanOrEqual(440 - 56);
  expect(svg).toContain('>-0.2<');
  expect(svg).toContain('a &lt; b');
});

test('an axis may start at the lowest value', () => {
  const points: [number, number][] = [
    [0, 4],
    [10, 3.8],
  ];
  const spread = (from?: LineChart['from']): number => {
    const [[, first], [, last]] = places(lineChart(chart(points, from))) as [number[], number[]];
    return last! - first!;
  };
  expect(spread('lowest')).toBeGreaterThan(10 * spread());
});

test('a value that is no number has no place, and one value alone is a dot', () => {
  const svg = lineChart(
    chart([
      [0, 0.5],
      [1, Number.NaN],
      [2, null as unknown as number],
      [3, Number.POSITIVE_INFINITY],
      [4, 0.25],
    ]),
  );
  expect(svg).not.toMatch(/NaN|Infinity/);
  expect(places(svg)).toHaveLength(2);
  expect(lineChart(chart([[0, Number.NaN]], 'lowest'))).not.toMatch(/NaN|Infinity/);
  expect(lineChart(chart([[3, 4]])).match(/<circle /g)).toHaveLength(1);
});

test('a long title gets smaller, so that all of it is seen', () => {
  const sizeOf = (title: string): number =>
    Number(/font-size="([\d.]+)"[^>]*font-weight="600"/.exec(lineChart({ ...chart([[0, 1]]), title }))![1]);
  expect(sizeOf('short')).toBe(17);
  expect(sizeOf('an-experiment-on-many-records '.repeat(4))).toBeLessThan(9);
});

test('a dark page has a dark drawing; who knows no style sheets has a white one', async () => {
  const svg = drawing(40, 20, 'title', [
    text(2, 10, 'x'),
    element('rect', { x: 20, y: 0, width: 20, height: 20, fill: '#2f7d5b' }),
  ]);
  expect(svg).toMatch(/@media \(prefers-color-scheme: dark\)\{rect\[fill="#ffffff"\]\{fill:#0d1117\}/);
  const { data } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  expect([...data.subarray(0, 3)]).toEqual([255, 255, 255]);
  expect([...data.subarray(-3)]).toEqual([0x2f, 0x7d, 0x5b]);
});
