/**
 * Hershey fonts (.jhf): a line a glyph, in ASCII order from the space. Columns 5-7 count the points, then two characters of left and
 * right margin, then pairs of characters, each a coordinate relative to `R`; " R" lifts the pen.
 */
import { readFileSync } from 'node:fs';
import type { Glyph } from './strokes.ts';

const origin = 'R'.charCodeAt(0);

export function readHershey(path: string): Map<string, Glyph> {
  const glyphs = new Map<string, Glyph>();
  const lines = readFileSync(path, 'latin1').split(/\r?\n/);
  // Long glyphs are wrapped: a new one starts with its number in five columns.
  let code = 32;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    if (line.length < 8) continue;
    const pairs = Number(line.slice(5, 8));
    let body = line.slice(8);
    while (body.length < pairs * 2 && i + 1 < lines.length) body += lines[++i];
    glyphs.set(String.fromCharCode(code++), strokes(body.slice(2)));
  }
  return glyphs;
}

function strokes(body: string): Glyph {
  return body
    .split(' R')
    .filter((run) => run.length >= 4)
    .map((run) => {
      const points = new Float64Array(run.length & ~1);
      for (let k = 0; k < points.length; k++) points[k] = (run.charCodeAt(k) - origin) / 21;
      return { points };
    });
}
