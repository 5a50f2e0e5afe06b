/**
 * Draws strokes as MNIST's makers scanned them: ink fitted into a 20 x 20 box by its larger side, its centre of mass put in the
 * middle of 28 x 28. A pixel's value comes from its distance to the nearest stroke, so no supersampling is needed.
 */
import { extent, type Glyph } from './strokes.ts';

export const side = 28;
export const pixels: number = side * side;
const box = 20;

export interface Pen {
  /** Half the width of the line, in pixels of the final image. */
  readonly radius: number;
  /** How much of a font's own radius is used: 0 a pen of constant width, 1 the font's ink. */
  readonly ownRadius: number;
  /** Pixels from full ink to none. */
  readonly softness: number;
  /** The box's side in pixels; 20 is MNIST's. */
  readonly box?: number;
}

/** Draws into `out` (784 bytes, overwritten). */
export function draw(glyph: Glyph, pen: Pen, out: Uint8Array, offset: number): void {
  const [left, top, right, bottom] = extent(glyph);
  const target = pen.box ?? box;
  const inner = target - 2 * pen.radius;
  const scale = inner / Math.max(right - left, bottom - top, 1e-6);
  const [shiftX, shiftY] = [side / 2 - (scale * (left + right)) / 2, side / 2 - (scale * (top + bottom)) / 2];
  ink.fill(0);
  for (const { points, radii } of glyph) {
    const last = points.length / 2 - 1;
    for (let i = 0; i < Math.max(1, last); i++) {
      const j = Math.min(i + 1, last);
      const own = pen.ownRadius && radii ? Math.max(radii[i]!, radii[j]!) * scale : pen.radius;
      segment(
        points[2 * i]! * scale + shiftX,
        points[2 * i + 1]! * scale + shiftY,
        points[2 * j]! * scale + shiftX,
        points[2 * j + 1]! * scale + shiftY,
        Math.max(0.6, pen.radius + pen.ownRadius * (own - pen.radius)),
        pen.softness,
      );
    }
  }
  centre(out, offset);
}

/** Ink from 0 to 1, before it is centred. */
const ink = new Float64Array(pixels);

function segment(x0: number, y0: number, x1: number, y1: number, radius: number, softness: number): void {
  const reach = radius + softness / 2;
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length2 = dx * dx + dy * dy || 1e-12;
  const from = Math.max(0, Math.floor(Math.min(x0, x1) - reach));
  const to = Math.min(side - 1, Math.ceil(Math.max(x0, x1) + reach));
  const bottom = Math.min(side - 1, Math.ceil(Math.max(y0, y1) + reach));
  for (let y = Math.max(0, Math.floor(Math.min(y0, y1) - reach)); y <= bottom; y++) {
    for (let x = from; x <= to; x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const t = Math.max(0, Math.min(1, (px * dx + py * dy) / length2));
      const [ex, ey] = [px - t * dx, py - t * dy];
      const value = (reach - Math.sqrt(ex * ex + ey * ey)) / softness;
      const i = y * side + x;
      if (value > ink[i]!) ink[i] = Math.min(1, value);
    }
  }
}

/** By whole pixels, as MNIST's makers did. */
function centre(out: Uint8Array, offset: number): void {
  let [mass, mx, my] = [1e-9, 0, 0];
  for (let i = 0; i < pixels; i++) {
    const value = ink[i]!;
    mass += value;
    mx += value * (i % side);
    my += value * Math.floor(i / side);
  }
  const [shiftX, shiftY] = [Math.round((side - 1) / 2 - mx / mass), Math.round((side - 1) / 2 - my / mass)];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [sx, sy] = [x - shiftX, y - shiftY];
      const inside = sx >= 0 && sx < side && sy >= 0 && sy < side;
      out[offset + y * side + x] = inside ? Math.round(255 * ink[sy * side + sx]!) : 0;
    }
  }
}
