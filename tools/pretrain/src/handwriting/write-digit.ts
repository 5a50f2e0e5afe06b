/**
 * The ten digits as people write them: for every digit several ways (allographs), for every way a few poses of the same pen path.
 * A sample blends the poses at random, shakes the control points, and curves through them; this is what comes closest to
 * handwriting that no font has.
 */

import type { Random } from '../random.ts';
import { type Glyph, type Stroke, spline } from '../strokes.ts';
import { FIVE_TO_NINE } from './five-to-nine.ts';
import { ZERO_TO_FOUR } from './zero-to-four.ts';

interface Point {
  readonly x: number;
  readonly y: number;
  readonly corner: boolean;
}

const parsed = new Map(
  Object.entries({ ...ZERO_TO_FOUR, ...FIVE_TO_NINE }).map(([digit, ways]) => [
    digit,
    ways.map(({ weight, poses }) => {
      const shapes = poses.map((pose) => pose.replace(/[^,|^]/g, ''));
      const odd = shapes.findIndex((shape) => shape !== shapes[0]);
      if (odd > 0)
        throw new Error(`handwriting of ${digit}: poses differ in points or corners: ${poses[odd]}`);
      return { weight, poses: poses.map((pose) => pose.split('|').map(parse)) };
    }),
  ]),
);

function parse(path: string): Point[] {
  return path.split(',').map((item) => {
    const [x, y] = item.replace('^', '').trim().split(/\s+/).map(Number);
    return { x: x! / 100, y: y! / 100, corner: item.includes('^') };
  });
}

/** One digit in nobody's hand: an allograph by weight, its poses blended, every control point shaken by `shake` (share of the height). */
export function writeDigit(digit: string, random: Random, shake: number): Glyph {
  const ways = parsed.get(digit);
  if (!ways) throw new RangeError(`no handwriting for ${JSON.stringify(digit)}: only the digits 0 to 9`);
  let left = random.uniform() * ways.reduce((sum, way) => sum + way.weight, 0);
  const way =
    ways.find((each) => {
      left -= each.weight;
      return left < 0;
    }) ?? ways[0]!;
  // Weights with a long tail: mostly near one pose, sometimes in between; slightly outside the hull to reach past what was drawn.
  const blend = way.poses.map(() => -Math.log(1 - random.uniform()));
  const total = blend.reduce((sum, value) => sum + value, 0);
  const reach = random.between(0.8, 1.3);
  const shares = blend.map((value) => 1 / blend.length + reach * (value / total - 1 / blend.length));
  return way.poses[0]!.map((first, s): Stroke => {
    const controls = first.map((point, p) => {
      let [x, y] = [shake * random.normal(), shake * random.normal()];
      way.poses.forEach((pose, i) => {
        x += shares[i]! * pose[s]![p]!.x;
        y += shares[i]! * pose[s]![p]!.y;
      });
      return { x: x * 0.82, y, corner: point.corner };
    });
    return { points: Float64Array.from(curve(controls)) };
  });
}

/** Splines between corners. */
function curve(controls: readonly Point[]): number[] {
  const out: number[] = [];
  let run: [number, number][] = [];
  controls.forEach(({ x, y, corner }, i) => {
    run.push([x, y]);
    if ((corner && run.length > 1) || i === controls.length - 1) {
      out.push(...spline(run, 6));
      run = [[x, y]];
    }
  });
  return out;
}
