/**
 * The ten digits as people write them: for every digit several ways (allographs), for every way a few poses of the same pen path.
 * A sample blends the poses at random, shakes the control points, and curves through them; this is what comes closest to
 * handwriting that no font has.
 *
 * A path is a list of "x y" points in percent of a box (y down), separated by commas; `^` before a point makes it a corner,
 * every other point is passed smoothly; `|` lifts the pen.
 */
import type { Random } from './random.ts';
import { type Glyph, type Stroke, spline } from './strokes.ts';

interface Allograph {
  readonly weight: number;
  /** All poses have the same points in the same order. */
  readonly poses: readonly string[];
}

const DIGITS: Readonly<Record<string, readonly Allograph[]>> = {
  '0': [
    {
      weight: 3,
      poses: [
        '50 0, 22 12, 8 50, 22 88, 50 100, 78 88, 92 50, 78 12, 48 1',
        '45 0, 10 18, 0 55, 20 90, 55 100, 90 82, 100 42, 82 8, 42 2',
        '55 0, 34 14, 26 52, 30 86, 46 100, 62 86, 72 48, 68 14, 50 2',
        '70 6, 38 10, 6 48, 2 84, 26 100, 62 84, 94 44, 96 12, 66 2',
      ],
    },
    // The end of the ring misses its start: left open, or crossed over.
    {
      weight: 2,
      poses: [
        '40 4, 14 24, 8 60, 28 94, 60 98, 86 76, 92 38, 74 8, 30 10',
        '62 8, 34 4, 8 36, 10 78, 42 100, 78 86, 92 48, 82 16, 56 0',
        '66 0, 30 14, 12 50, 16 86, 44 100, 74 84, 88 46, 78 14, 48 18',
      ],
    },
    {
      weight: 1,
      poses: [
        '84 18, 62 2, 28 10, 8 46, 18 86, 50 100, 82 80, 90 44, 76 14, 58 8, 46 20',
        '90 10, 58 6, 24 20, 4 56, 16 92, 46 98, 76 76, 90 42, 78 12, 50 4, 30 14',
      ],
    },
  ],
  '1': [
    { weight: 6, poses: ['50 0, 50 50, 50 100', '54 0, 50 50, 46 100', '56 0, 46 52, 50 100', '47 0, 53 48, 48 100'] },
    { weight: 1.2, poses: ['30 20, ^52 0, 52 50, 52 100', '36 14, ^56 0, 52 50, 50 100', '22 30, ^54 0, 54 52, 52 100'] },
    {
      weight: 0.6,
      poses: ['26 22, ^50 0, 50 50, ^50 100 | 16 100, 50 98, 86 100', '34 18, ^52 0, 50 50, ^48 97 | 22 96, 52 100, 80 97'],
    },
    { weight: 0.3, poses: ['50 0, 50 50, ^50 100 | 20 100, 50 99, 80 100', '52 0, 50 50, ^48 97 | 26 97, 50 100, 76 96'] },
  ],
  '2': [
    {
      weight: 3,
      poses: [
        '8 24, 26 5, 56 0, 84 14, 84 40, 56 68, ^6 97, 48 96, 96 98',
        '4 30, 30 4, 62 2, 80 20, 72 46, 44 70, ^2 94, 52 98, 100 92',
        '14 16, 34 2, 60 2, 76 18, 74 40, 54 66, ^16 100, 50 96, 86 98',
        '2 16, 30 0, 66 4, 92 24, 88 50, 56 76, ^8 100, 56 92, 100 86',
      ],
    },
    // A loop where the base begins.
    {
      weight: 3,
      poses: [
        '10 22, 34 3, 68 3, 84 24, 72 54, 42 82, 16 98, 3 88, 16 76, 40 84, 66 96, 100 90',
        '4 26, 26 4, 58 0, 78 18, 70 48, 46 78, 20 98, 4 96, 8 82, 34 82, 62 92, 96 98',
        '16 14, 40 0, 70 6, 78 28, 66 56, 44 80, 22 92, 8 86, 20 74, 46 80, 72 94, 98 84',
        '6 34, 22 12, 52 2, 78 12, 76 42, 52 74, 24 100, 2 94, 12 70, 42 80, 74 100, 100 88',
      ],
    },
    {
      weight: 1,
      poses: [
        '6 12, 44 2, 84 6, ^88 16, 52 56, ^8 92, 36 88, 66 96, 98 92',
        '10 30, 30 8, 66 4, 82 26, 52 62, ^4 92, 30 86, 60 94, 94 100',
      ],
    },
  ],
  '3': [
    {
      weight: 4,
      poses: [
        '12 12, 42 0, 78 9, 78 32, ^40 47, 76 54, 86 78, 56 98, 8 90',
        '6 18, 40 0, 82 14, 74 38, ^34 50, 74 56, 82 82, 44 100, 0 92',
        '18 8, 46 0, 74 12, 70 34, ^44 44, 82 52, 94 76, 60 100, 14 96',
        '16 6, 48 2, 70 16, 64 36, ^36 46, 66 56, 72 80, 46 98, 12 94',
      ],
    },
    // The pen turns through a small loop in the middle.
    {
      weight: 2,
      poses: [
        '12 14, 44 0, 80 14, 72 38, 42 50, 34 44, 50 42, 82 60, 84 86, 46 100, 5 90',
        '8 10, 46 2, 74 18, 60 40, 36 46, 34 54, 56 48, 80 64, 76 90, 38 100, 2 88',
      ],
    },
    {
      weight: 1,
      poses: [
        '12 4, 48 4, ^84 4, 60 24, ^44 40, 80 52, 86 82, 48 100, 8 90',
        '8 8, 44 4, ^80 2, 58 26, ^34 44, 72 54, 76 84, 40 98, 4 96',
      ],
    },
    { weight: 1, poses: ['20 4, 60 2, 82 18, 62 42, 50 48, 74 58, 84 80, 54 100, 12 96', '10 6, 52 0, 74 16, 66 40, 58 50, 72 62, 74 84, 44 100, 6 98'] },
  ],
  '4': [
    // Open on top.
    {
      weight: 4,
      poses: [
        '22 2, 16 30, ^8 56, 44 54, 90 50 | 76 6, 70 50, 64 100',
        '14 8, 10 34, ^6 54, 46 56, 96 52 | 84 0, 80 48, 74 100',
        '34 0, 20 32, ^4 62, 42 62, 88 58 | 72 10, 64 56, 58 100',
        '18 6, 14 26, ^14 46, 46 48, 84 44 | 86 0, 82 44, 80 100',
      ],
    },
    {
      weight: 3,
      poses: [
        '16 4, 10 34, 20 52, 48 54, 82 42 | 86 0, 80 48, 74 100',
        '24 0, 8 38, 14 60, 44 62, 80 48 | 90 2, 76 52, 60 100',
        '10 10, 12 36, 26 50, 52 48, 78 36 | 80 6, 78 50, 78 100',
        '30 0, 16 26, 12 50, 40 56, 78 50 | 82 10, 72 54, 64 100',
      ],
    },
    // The same in one go: up from the end of the bar, down the stem.
    {
      weight: 2,
      poses: [
        '20 4, 10 34, 20 54, 52 50, 78 30, ^88 4, 80 50, 72 100',
        '26 2, 12 30, 16 50, 46 52, 72 36, ^84 14, 74 56, 62 100',
        '12 8, 8 36, 24 56, 56 48, 76 32, ^82 10, 80 52, 80 100',
      ],
    },
    // Closed.
    {
      weight: 2,
      poses: [
        '66 0, 36 32, ^4 64, 48 62, 98 62 | ^66 0, 66 50, 64 100',
        '74 4, 40 30, ^8 58, 50 58, 96 54 | ^74 4, 70 52, 62 100',
        '60 2, 36 30, ^10 60, 46 62, 88 60 | ^62 6, 60 52, 60 100',
      ],
    },
    { weight: 1, poses: ['62 100, 66 50, ^74 2, 38 34, ^4 62, 48 60, 98 56', '58 100, 64 50, ^70 6, 40 28, ^10 54, 50 56, 92 52'] },
  ],
  '5': [
    {
      weight: 3,
      poses: [
        '30 4, 26 24, ^20 46, 54 38, 86 58, 80 88, 42 100, 6 92 | 28 4, 58 4, 92 2',
        '36 6, 28 26, ^20 44, 52 42, 76 60, 70 88, 34 100, 0 92 | 38 6, 66 4, 98 0',
        '24 8, 22 26, ^18 48, 50 42, 80 62, 78 90, 46 100, 10 96 | 22 8, 52 8, 82 10',
        '34 10, 28 28, ^22 44, 58 46, 78 66, 64 92, 34 100, 4 92 | 40 6, 68 2, 96 4',
      ],
    },
    {
      weight: 3,
      poses: [
        '90 3, 60 4, ^30 6, 24 26, ^18 46, 54 40, 84 60, 78 90, 40 100, 4 90',
        '98 2, 68 6, ^38 8, 30 26, ^22 44, 54 46, 74 64, 64 90, 34 100, 2 94',
        '80 6, 54 4, ^26 4, 22 26, ^20 48, 54 44, 88 62, 80 92, 42 100, 10 92',
      ],
    },
    // Almost an S.
    {
      weight: 2,
      poses: [
        '90 4, 56 2, 26 16, 28 38, 66 52, 82 76, 48 100, 6 92',
        '100 0, 64 4, 36 18, 34 40, 62 56, 70 80, 36 100, 0 94',
        '84 8, 56 4, 32 12, 24 36, 56 48, 76 72, 56 96, 14 98',
      ],
    },
  ],
  '6': [
    {
      weight: 3,
      poses: [
        '72 0, 40 20, 14 54, 16 88, 48 100, 82 86, 78 60, 50 54, 20 74',
        '84 2, 48 20, 14 52, 8 84, 36 100, 70 90, 78 66, 52 58, 14 78',
        '56 0, 32 22, 16 54, 20 88, 46 100, 72 88, 72 66, 50 58, 22 76',
        '50 0, 22 30, 10 60, 22 92, 52 100, 80 84, 74 60, 46 56, 16 80',
      ],
    },
    {
      weight: 2,
      poses: [
        '60 0, 28 38, 10 74, 26 99, 62 96, 80 76, 56 62, 26 74, 14 86',
        '84 0, 44 34, 10 70, 14 96, 46 98, 68 80, 56 66, 28 76, 10 90',
        '42 0, 24 38, 18 74, 30 98, 58 96, 72 78, 54 64, 32 74, 20 90',
      ],
    },
    // A small or flat bowl on a long stem.
    {
      weight: 1,
      poses: [
        '46 0, 30 30, 14 66, 16 92, 50 100, 88 94, 84 78, 50 74, 16 88',
        '70 0, 42 32, 18 66, 14 92, 40 100, 66 92, 66 76, 44 74, 18 90',
      ],
    },
  ],
  '7': [
    {
      weight: 4,
      poses: [
        '6 8, 48 6, ^90 5, 62 46, 40 100',
        '2 14, 44 8, ^88 4, 66 50, 54 100',
        '10 6, 46 8, ^80 8, 60 50, 30 100',
        '4 4, 50 4, ^96 10, 72 48, 50 100',
      ],
    },
    // Round the corner.
    {
      weight: 2.5,
      poses: [
        '4 16, 30 6, 66 6, 84 14, 66 46, 50 100',
        '8 10, 34 8, 70 4, 86 10, 72 44, 60 100',
        '2 26, 20 8, 56 4, 78 12, 66 46, 46 100',
      ],
    },
    // A tick where the pen lands.
    {
      weight: 1.5,
      poses: [
        '8 30, ^12 6, 50 8, ^90 4, 62 48, 46 100',
        '2 26, ^8 8, 46 8, ^84 8, 64 50, 50 100',
        '14 24, ^14 8, 44 6, ^82 6, 54 48, 32 100',
      ],
    },
    {
      weight: 1,
      poses: [
        '8 8, 48 6, ^90 6, 60 48, 38 100 | 30 54, 54 51, 80 50',
        '2 14, 44 8, ^86 8, 66 50, 50 100 | 36 58, 58 54, 86 56',
        '8 26, ^12 8, ^88 6, 62 48, 40 100 | 26 50, 54 52, 78 48',
      ],
    },
  ],
  '8': [
    // An S, and back up across it.
    {
      weight: 3,
      poses: [
        '74 12, 46 0, 20 14, 30 36, 62 56, 82 80, 50 100, 16 82, 36 58, 68 38, 82 18, 64 6',
        '82 14, 56 0, 28 14, 34 38, 58 58, 66 84, 36 100, 8 86, 32 60, 70 38, 90 20, 76 4',
        '66 10, 44 0, 24 16, 34 40, 60 58, 74 80, 50 100, 26 82, 38 60, 62 40, 72 20, 60 6',
        '88 10, 52 0, 14 18, 30 42, 64 60, 74 84, 42 100, 10 84, 34 60, 66 40, 88 24, 84 6',
      ],
    },
    {
      weight: 2,
      poses: [
        '84 10, 56 2, 24 12, 28 34, 60 52, 76 76, 48 100, 16 84, 32 60, 58 44, 80 26, 92 6',
        '94 4, 60 2, 26 16, 32 38, 58 54, 64 80, 34 100, 6 86, 28 62, 58 44, 84 26, 100 12',
      ],
    },
    // From the top to the left and round.
    {
      weight: 1.5,
      poses: [
        '54 0, 26 10, 26 32, 52 48, 76 66, 72 92, 44 100, 18 86, 28 62, 54 46, 74 28, 70 8, 50 0',
        '60 0, 34 8, 28 32, 54 50, 70 70, 58 94, 30 100, 10 86, 26 64, 54 46, 80 28, 82 8, 58 0',
      ],
    },
    // Two rings.
    {
      weight: 1.5,
      poses: [
        '50 0, 24 10, 22 34, 50 46, 76 34, 74 10, 48 0 | 50 46, 18 60, 16 88, 50 100, 84 88, 80 60, 50 46',
        '58 0, 34 12, 32 36, 54 46, 80 32, 80 10, 56 0 | 52 46, 20 58, 8 86, 38 100, 72 86, 74 58, 50 46',
      ],
    },
  ],
  '9': [
    // A ring, and a stem straight down.
    {
      weight: 4,
      poses: [
        '78 16, 50 2, 18 16, 14 42, 42 52, 70 38, ^82 12, 76 54, 68 100',
        '84 14, 56 0, 22 18, 12 44, 38 54, 68 40, ^86 14, 72 56, 52 100',
        '74 14, 50 0, 24 14, 20 38, 46 48, 68 36, ^78 10, 78 52, 78 100',
        '82 22, 58 4, 26 12, 8 36, 28 50, 64 38, ^82 18, 70 58, 56 100',
      ],
    },
    {
      weight: 2,
      poses: [
        '76 12, 46 0, 16 16, 18 42, 48 50, 74 34, 80 10, 78 46, 62 100',
        '90 6, 56 2, 20 22, 20 44, 50 44, 78 26, 88 10, 68 52, 42 100',
        '72 6, 44 2, 20 20, 26 42, 52 42, 72 26, 76 12, 72 54, 66 100',
      ],
    },
    // The stem curls to the left.
    {
      weight: 2,
      poses: [
        '80 18, 50 0, 18 14, 16 42, 46 52, 74 38, 82 18, 80 54, 68 88, 38 100, 10 92',
        '78 12, 50 0, 24 18, 26 42, 52 48, 74 32, 80 14, 78 56, 64 90, 42 100, 22 92',
      ],
    },
    // Ring and stem apart.
    {
      weight: 1,
      poses: [
        '74 14, 44 2, 14 20, 20 46, 50 48, 76 28, 74 14 | 80 4, 76 52, 68 100',
        '78 20, 50 4, 20 16, 16 40, 42 46, 70 34, 80 16 | 82 8, 72 54, 56 100',
      ],
    },
  ],
};

interface Point {
  readonly x: number;
  readonly y: number;
  readonly corner: boolean;
}

const parsed = new Map(
  Object.entries(DIGITS).map(([digit, ways]) => [
    digit,
    ways.map(({ weight, poses }) => ({ weight, poses: poses.map((pose) => pose.split('|').map(parse)) })),
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
  const way = ways.find((each) => (left -= each.weight) < 0) ?? ways[0]!;
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
      return { x: x * 0.7, y, corner: point.corner };
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
