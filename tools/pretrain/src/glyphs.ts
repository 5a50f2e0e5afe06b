/** Synthetic handwriting in the format of MNIST: 28 x 28, white ink on black, from fonts and from our own pen paths. */
import { classes as allClasses, charactersOf } from './classes.ts';
import { deform, type Hand } from './deform.ts';
import { writeDigit } from './handwriting/write-digit.ts';
import { type Library, loadLibrary } from './library.ts';
import { draw, type Pen, pixels } from './pen.ts';
import { Random } from './random.ts';

export interface GlyphOptions {
  readonly count: number;
  readonly seed: number;
  /** Default: all classes of `classes.ts`. Labels are positions in this list. */
  readonly classes?: readonly string[];
  /** How often a class is drawn, in any unit. Default: a digit 4 times as often as a letter. */
  readonly weights?: readonly number[];
  /** Share of the digits that come from our own pen paths; the rest from fonts. */
  readonly handwriting?: number;
  /** Traced fonts; default: those of `loadLibrary()`. */
  readonly library?: Library;
}

export interface Glyphs {
  /** count x 784, row by row, 0 black to 255 white. */
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
  readonly classes: readonly string[];
}

/** Image i depends on the options and on i alone: a longer run starts with a shorter one's images. */
export function renderGlyphs(options: GlyphOptions): Glyphs {
  const { count, seed, classes = allClasses, handwriting = 0.6 } = options;
  const weights = options.weights ?? classes.map((name) => (/\d/.test(name) ? 4 : 1));
  const needsFonts = handwriting < 1 || classes.some((name) => /\D/.test(name));
  const library = needsFonts ? (options.library ?? loadLibrary()) : undefined;
  const drawable = new Map(
    classes.map((name) => [name, library ? charactersOf(name).flatMap((c) => facesWith(library, c)) : []]),
  );
  const total = weights.reduce((sum, value) => sum + value, 0);
  const images = new Uint8Array(count * pixels);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const random = new Random(seed, i);
    let left = random.uniform() * total;
    const label = Math.max(
      0,
      weights.findIndex((weight) => {
        left -= weight;
        return left < 0;
      }),
    );
    const name = classes[label]!;
    const own = /\d/.test(name) && random.chance(handwriting);
    const source = own ? writeDigit(name, random, 0.065) : random.pick(drawable.get(name)!);
    draw(deform(source, own ? freeHand : printHand, random), pen(random), images, i * pixels);
    grain(images, i * pixels, random);
    labels[i] = label;
  }
  return { images, labels, classes };
}

/** Tuned by what a small network learns from them about real digits: ../README.md. Our own paths also have their control points shaken. */
const freeHand: Hand = { turn: 0.3, slant: [0.12, 0.24], stretch: [0.05, 0.25], bend: 0.08, slip: 0.02 };
const printHand: Hand = { turn: 0.3, slant: [0.15, 0.25], stretch: [0.15, 0.3], bend: 0.08, slip: 0.015 };

function pen(random: Random): Pen {
  return {
    radius: Math.max(0.7, 1.2 + 0.28 * random.normal()),
    ownRadius: random.chance(0.2) ? random.uniform() : 0,
    softness: random.between(0.9, 1.6),
    box: 20,
  };
}

/** A handwritten face counts six times; so does a plotter's. */
function facesWith(library: Library, character: string) {
  return library.faces.flatMap(({ glyphs, handwritten }) => {
    const glyph = glyphs.get(character);
    return glyph ? Array(handwritten ? 6 : 1).fill(glyph) : [];
  });
}

/** Scanner's grain: ink is never quite even. */
function grain(images: Uint8Array, offset: number, random: Random): void {
  const strength = random.chance(0.5) ? random.between(0, 20) : 0;
  if (strength === 0) return;
  for (let i = offset; i < offset + pixels; i++) {
    const value = images[i]!;
    if (value) images[i] = Math.max(0, Math.min(255, value + strength * (random.uniform() - 0.5)));
  }
}
