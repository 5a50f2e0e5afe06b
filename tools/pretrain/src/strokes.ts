/**
 * Everything is drawn as strokes: the path of a pen, with the pen's own radius along it. A font's glyph becomes strokes by its
 * medial axis (skeleton.ts), a Hershey glyph and our own handwriting are strokes to begin with. One renderer serves all.
 */
export interface Stroke {
  /** x0, y0, x1, y1, ...; y points down; the glyph is about 1 high, its origin is anywhere. */
  readonly points: Float64Array;
  /** Radius of the ink at every point in the same unit, where the source knows it (fonts), else absent. */
  readonly radii?: Float64Array;
}

export type Glyph = readonly Stroke[];

/** Left, top, right, bottom of the pen's path. */
export function extent(glyph: Glyph): [left: number, top: number, right: number, bottom: number] {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { points } of glyph) {
    for (let i = 0; i < points.length; i += 2) {
      left = Math.min(left, points[i]!);
      right = Math.max(right, points[i]!);
      top = Math.min(top, points[i + 1]!);
      bottom = Math.max(bottom, points[i + 1]!);
    }
  }
  return [left, top, right, bottom];
}

/** A Catmull-Rom curve through the points (centripetal would be safer; uniform is rounder, like a hurried hand). */
export function spline(points: readonly (readonly [number, number])[], steps: number): number[] {
  const out: number[] = [];
  const at = (i: number) => points[Math.max(0, Math.min(points.length - 1, i))] as readonly [number, number];
  for (let i = 0; i + 1 < points.length; i++) {
    const [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    for (let s = 0; s < steps; s++) {
      const t = s / steps;
      for (const k of [0, 1] as const) {
        const [pa, pb, pc, pd] = [a[k], b[k], c[k], d[k]];
        out.push(
          pb + 0.5 * t * (pc - pa + t * (2 * pa - 5 * pb + 4 * pc - pd + t * (3 * (pb - pc) + pd - pa))),
        );
      }
    }
  }
  out.push(...at(points.length - 1));
  return out;
}
