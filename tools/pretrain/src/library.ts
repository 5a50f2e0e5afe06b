/** Every character of every font as strokes, computed once and cached: tracing outlines is the slow part of rendering. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import opentype from 'opentype.js';
import { charactersOf, classes } from './classes.ts';
import { cache, fontFiles } from './fonts.ts';
import { readHershey } from './hershey.ts';
import { fill, skeleton } from './skeleton.ts';
import type { Glyph } from './strokes.ts';

export interface Face {
  readonly name: string;
  readonly handwritten: boolean;
  readonly glyphs: ReadonlyMap<string, Glyph>;
}

export interface Library {
  readonly faces: readonly Face[];
  /** SHA-256 of the fonts and of how they are traced. */
  readonly digest: string;
}

/** Pixels a capital is about high when traced. */
const resolution = 72;
/** Faces that draw small letters as capitals. */
const CAPITALS: RegExp = /^(BecauseWe|Humor|TomsonTalks)/;

interface Stored {
  name: string;
  handwritten: boolean;
  glyphs: Record<string, { points: number[]; radii?: number[] }[]>;
}

export function loadLibrary(): Library {
  const files = fontFiles();
  const hash = createHash('sha256').update(sources('classes.ts', 'hershey.ts', 'library.ts', 'skeleton.ts'));
  const bytes = files.map(({ path, handwritten }) => {
    const content = readFileSync(path);
    hash.update(basename(path)).update(String(handwritten)).update(content);
    return content;
  });
  const digest = hash.digest('hex');
  const path = join(cache, 'glyphs', `strokes-${digest.slice(0, 16)}.json`);
  if (!existsSync(path)) {
    const faces = files.map((file, i) => trace(file.path, bytes[i]!, file.handwritten));
    mkdirSync(join(cache, 'glyphs'), { recursive: true });
    writeFileSync(`${path}.${process.pid}`, JSON.stringify(faces));
    renameSync(`${path}.${process.pid}`, path);
  }
  const faces = (JSON.parse(readFileSync(path, 'utf8')) as Stored[]).map((face) => ({
    ...face,
    glyphs: new Map(
      Object.entries(face.glyphs).map(([character, strokes]) => [
        character,
        strokes.map(({ points, radii }) => ({
          points: Float64Array.from(points),
          ...(radii && { radii: Float64Array.from(radii) }),
        })),
      ]),
    ),
  }));
  return { faces, digest };
}

/** Our own code, for digests: a cache made by other code must not be found. */
export function sources(...names: string[]): string {
  return names.map((name) => readFileSync(new URL(name, import.meta.url), 'utf8')).join('\0');
}

function trace(path: string, bytes: Buffer, handwritten: boolean): Stored {
  const glyphs: Stored['glyphs'] = {};
  const all = classes.flatMap(charactersOf);
  const characters = CAPITALS.test(basename(path)) ? all.filter((c) => !/[a-z]/.test(c)) : all;
  const hershey = path.endsWith('.jhf') ? readHershey(path) : undefined;
  const font = hershey ? undefined : opentype.parse(new Uint8Array(bytes).buffer);
  for (const character of characters) {
    const strokes = hershey ? (hershey.get(character) ?? []) : medial(font!, character);
    if (strokes.length) {
      glyphs[character] = strokes.map(({ points, radii }) => ({
        points: [...points].map(round),
        ...(radii && { radii: [...radii].map(round) }),
      }));
    }
  }
  return { name: basename(path), handwritten, glyphs };
}

const round = (value: number) => Math.round(value * 1e4) / 1e4;

function medial(font: opentype.Font, character: string): Glyph {
  if (font.charToGlyphIndex(character) === 0) return [];
  const outline = font.charToGlyph(character).getPath(0, 0, resolution / 0.7);
  const polygons = flatten(outline.commands);
  const all = polygons.flat();
  if (all.length < 6) return [];
  const xs = all.filter((_, i) => i % 2 === 0);
  const ys = all.filter((_, i) => i % 2 === 1);
  const [left, top] = [xs.reduce((a, b) => Math.min(a, b)) - 2, ys.reduce((a, b) => Math.min(a, b)) - 2];
  const [width, height] = [
    Math.ceil(xs.reduce((a, b) => Math.max(a, b)) - left) + 3,
    Math.ceil(ys.reduce((a, b) => Math.max(a, b)) - top) + 3,
  ];
  // A swash across half the page is no letter.
  if (width > 4 * resolution || height > 4 * resolution) return [];
  const shape = fill(
    polygons.map((polygon) => polygon.map((value, i) => value - (i % 2 ? top : left))),
    width,
    height,
  );
  return skeleton(shape).map(({ points, radii }) => ({
    points: points.map((value) => value / resolution),
    ...(radii && { radii: radii.map((value) => value / resolution) }),
  }));
}

function flatten(commands: readonly opentype.PathCommand[]): number[][] {
  const polygons: number[][] = [];
  let polygon: number[] = [];
  let [x, y] = [0, 0];
  const to = (bx: number, by: number) => {
    polygon.push(bx, by);
    [x, y] = [bx, by];
  };
  for (const c of commands) {
    if (c.type === 'M') {
      polygon = [];
      polygons.push(polygon);
      to(c.x, c.y);
    } else if (c.type === 'L') to(c.x, c.y);
    else if (c.type === 'Q') {
      const [sx, sy] = [x, y];
      for (let t = 0.125; t <= 1; t += 0.125) {
        const [a, b, d] = [(1 - t) ** 2, 2 * t * (1 - t), t * t];
        to(a * sx + b * c.x1 + d * c.x, a * sy + b * c.y1 + d * c.y);
      }
    } else if (c.type === 'C') {
      const [sx, sy] = [x, y];
      for (let t = 0.125; t <= 1; t += 0.125) {
        const [a, b, d, e] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
        to(a * sx + b * c.x1 + d * c.x2 + e * c.x, a * sy + b * c.y1 + d * c.y2 + e * c.y);
      }
    }
  }
  return polygons;
}
