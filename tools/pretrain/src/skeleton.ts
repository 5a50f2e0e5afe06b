/**
 * From a font's outline to the path of a pen: rasterise, measure each pixel's distance to the edge, thin to one pixel
 * (Zhang & Suen 1984), follow the lines. The distance at the line is the ink's radius there.
 */
import type { Stroke } from './strokes.ts';

export interface Bitmap {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Fill of closed polygons (x0, y0, x1, y1, ...) by the non-zero rule, a sample per pixel centre. */
export function fill(polygons: readonly (readonly number[])[], width: number, height: number): Bitmap {
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const crossings: [number, number][] = [];
    for (const p of polygons) {
      for (let i = 0; i < p.length; i += 2) {
        const [x0, y0] = [p[i]!, p[i + 1]!];
        const [x1, y1] = i + 2 < p.length ? [p[i + 2]!, p[i + 3]!] : [p[0]!, p[1]!];
        const at = y + 0.5;
        if (y0 <= at === y1 <= at) continue;
        crossings.push([x0 + ((at - y0) / (y1 - y0)) * (x1 - x0), y0 < y1 ? 1 : -1]);
      }
    }
    crossings.sort((a, b) => a[0] - b[0]);
    let winding = 0;
    for (let i = 0; i + 1 < crossings.length; i++) {
      winding += crossings[i]![1];
      if (winding === 0) continue;
      const from = Math.max(0, Math.ceil(crossings[i]![0] - 0.5));
      const to = Math.min(width, Math.ceil(crossings[i + 1]![0] - 0.5));
      data.fill(1, y * width + from, y * width + Math.max(from, to));
    }
  }
  return { width, height, data };
}

/** The strokes of a shape; coordinates and radii in pixels. */
export function skeleton(shape: Bitmap): Stroke[] {
  const radius = distances(shape);
  const lines = follow(thin(shape), radius, shape.width);
  return lines.map((line) => {
    const smooth = relax(line.map((i) => [(i % shape.width) + 0.5, Math.floor(i / shape.width) + 0.5]));
    const kept = smooth.map((_, i) => i).filter((i) => i % 3 === 0 || i === smooth.length - 1);
    return {
      points: Float64Array.from(kept.flatMap((i) => smooth[i]!)),
      radii: Float64Array.from(kept.map((i) => radius[line[i]!]!)),
    };
  });
}

/** Distance to the nearest empty pixel, by two chamfer sweeps (1, sqrt 2): within 8 % of Euclid, plenty here. */
function distances({ width, height, data }: Bitmap): Float64Array {
  const out = Float64Array.from(data, (value) => (value ? 1e9 : 0));
  const sweep = (from: number, step: number) => {
    for (let n = 0, i = from; n < data.length; n++, i += step) {
      if (!data[i]) continue;
      const x = i % width;
      if (x === 0 || x === width - 1 || i < width || i >= width * (height - 1)) out[i] = 1;
      else {
        const row = step > 0 ? i - width : i + width;
        out[i] = Math.min(
          out[i]!,
          out[i - step]! + 1,
          out[row]! + 1,
          Math.min(out[row - 1]!, out[row + 1]!) + Math.SQRT2,
        );
      }
    }
  };
  sweep(0, 1);
  sweep(data.length - 1, -1);
  return out;
}

/** The eight neighbours, clockwise from north; P2..P9 in Zhang & Suen. */
const ring = (width: number) => [-width, 1 - width, 1, width + 1, width, width - 1, -1, -width - 1];

function thin({ width, height, data }: Bitmap): Uint8Array {
  const image = data.slice();
  const around = ring(width);
  // The border must be empty for the neighbours to exist.
  for (let x = 0; x < width; x++) image[x] = image[(height - 1) * width + x] = 0;
  for (let y = 0; y < height; y++) image[y * width] = image[y * width + width - 1] = 0;
  for (let changed = true; changed; ) {
    changed = false;
    for (const pass of [0, 1]) {
      const gone: number[] = [];
      for (let i = 0; i < image.length; i++) {
        if (!image[i]) continue;
        let [count, rises] = [0, 0];
        for (let k = 0; k < 8; k++) {
          const here = image[i + around[k]!]!;
          count += here;
          if (!here && image[i + around[(k + 1) % 8]!]) rises++;
        }
        if (count < 2 || count > 6 || rises !== 1) continue;
        const [n, e, s, w] = [image[i - width], image[i + 1], image[i + width], image[i - 1]];
        if (pass === 0 ? (n && e && s) || (e && s && w) : (n && e && w) || (n && s && w)) continue;
        gone.push(i);
      }
      for (const i of gone) image[i] = 0;
      changed ||= gone.length > 0;
    }
  }
  return image;
}

/** The lines between ends and crossings, then closed rings. Spurs no longer than the ink is wide are dropped. */
function follow(image: Uint8Array, radius: Float64Array, width: number): number[][] {
  // Neighbours along the sides first: a diagonal step beside them would make every bend a crossing.
  const neighbours = (i: number) => {
    const sides = [-width, 1, width, -1].filter((step) => image[i + step]);
    const corners = [1 - width, width + 1, width - 1, -width - 1].filter(
      (step) =>
        image[i + step] &&
        !sides.some((side) => step - side === 1 || step - side === -1 || Math.abs(step - side) === width),
    );
    return [...sides, ...corners].map((step) => i + step);
  };
  const degree = new Map<number, number[]>();
  image.forEach((value, i) => {
    if (value) degree.set(i, neighbours(i));
  });
  const used = new Set<string>();
  const edge = (a: number, b: number) => (a < b ? `${a} ${b}` : `${b} ${a}`);
  const walk = (start: number, next: number): number[] => {
    const line = [start, next];
    used.add(edge(start, next));
    for (let [before, at] = [start, next]; at !== start && degree.get(at)!.length === 2; ) {
      const on = degree.get(at)!.find((n) => n !== before && !used.has(edge(at, n)));
      if (on === undefined) break;
      used.add(edge(at, on));
      line.push(on);
      [before, at] = [at, on];
    }
    return line;
  };
  const lines: number[][] = [];
  const from = (only: (links: number[]) => boolean) => {
    for (const [i, links] of degree) {
      if (!only(links)) continue;
      for (const next of links) if (!used.has(edge(i, next))) lines.push(walk(i, next));
    }
  };
  from((links) => links.length !== 2);
  from((links) => links.length === 2);
  // A dot has no links at all.
  for (const [i, links] of degree) if (links.length === 0) lines.push([i, i]);
  const ends = (line: number[]) => [line[0]!, line.at(-1)!].filter((i) => degree.get(i)!.length === 1).length;
  const kept = lines.filter((line) => ends(line) !== 1 || line.length > 1.3 * radius[line.at(-1)!]! + 2);
  return kept.length ? kept : lines;
}

/** Takes the steps out of a pixel path; its ends stay. */
function relax(path: [number, number][]): [number, number][] {
  let line = path;
  for (let round = 0; round < 4; round++) {
    line = line.map((p, i) => {
      const [a, b] = [line[i - 1], line[i + 1]];
      return a && b ? [(a[0] + 2 * p[0] + b[0]) / 4, (a[1] + 2 * p[1] + b[1]) / 4] : p;
    });
  }
  return line;
}
