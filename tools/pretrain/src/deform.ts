/** What a hand does to a letter: slant, turn, stretch, and bend it smoothly; strokes that do not quite meet. */
import type { Random } from './random.ts';
import { extent, type Glyph } from './strokes.ts';

export interface Hand {
  /** Largest turn, in radians. */
  readonly turn: number;
  /** Mean and standard deviation of the slant (x per y); most people lean to the right. */
  readonly slant: readonly [number, number];
  /** Mean and standard deviation of the logarithm of width over height. */
  readonly stretch: readonly [number, number];
  /** Standard deviation of the bending field, as a share of the glyph's size. */
  readonly bend: number;
  /** Standard deviation of a whole stroke's offset, likewise. */
  readonly slip: number;
}

export function deform(glyph: Glyph, hand: Hand, random: Random): Glyph {
  const [left, top, right, bottom] = extent(glyph);
  const size = Math.max(right - left, bottom - top, 1e-6);
  const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
  const angle = hand.turn * (random.uniform() + random.uniform() - 1);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const slant = hand.slant[0] + hand.slant[1] * random.normal();
  const wide = Math.exp((hand.stretch[0] + hand.stretch[1] * random.normal()) / 2);
  // Three plane waves a coordinate, one to three half-periods across the glyph; the shorter, the weaker.
  const waves = [0, 1, 2].map((n) => {
    const direction = 2 * Math.PI * random.uniform();
    const rate = Math.PI * (n + random.between(0.5, 1.3));
    const strength = hand.bend / (n + 1);
    return {
      kx: rate * Math.cos(direction),
      ky: rate * Math.sin(direction),
      phaseX: 2 * Math.PI * random.uniform(),
      phaseY: 2 * Math.PI * random.uniform(),
      ax: strength * random.normal(),
      ay: strength * random.normal(),
    };
  });
  const bent = glyph.map(({ points, radii }, s) => {
    const [ox, oy] = s ? [hand.slip * random.normal(), hand.slip * random.normal()] : [0, 0];
    const moved = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      let x = (points[i]! - cx) / size;
      let y = (points[i + 1]! - cy) / size;
      const [x0, y0] = [x, y];
      for (const w of waves) {
        const phase = w.kx * x0 + w.ky * y0;
        x += w.ax * Math.sin(phase + w.phaseX);
        y += w.ay * Math.sin(phase + w.phaseY);
      }
      x = (x - slant * y) * wide + ox;
      y = y / wide + oy;
      moved[i] = cos * x - sin * y;
      moved[i + 1] = sin * x + cos * y;
    }
    return { points: moved, ...(radii && { radii: radii.map((value) => value / size) }) };
  });
  return upright(bent, random.between(0.9, 1.5));
}

/** Slant, turn and stretch together can lay a glyph flat; nobody writes so. */
function upright(glyph: Glyph, widest: number): Glyph {
  const [left, top, right, bottom] = extent(glyph);
  const ratio = (widest * (bottom - top)) / (right - left);
  if (ratio >= 1 || bottom - top < 0.3) return glyph;
  return glyph.map((stroke) => ({
    ...stroke,
    points: stroke.points.map((value, i) => (i % 2 ? value : value * ratio)),
  }));
}
