import { describe, expect, it } from 'vitest';
import { type Augmentation, augment, type Draw } from './augment.ts';
import type { Picture } from './preprocess.ts';

/** Every pixel says where it lies: red its column, green its row. */
function located(width: number, height: number): Picture {
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) pixels.set([i % width, Math.floor(i / width), 7], i * 3);
  return { width, height, channels: 3, pixels };
}

const NONE: Augmentation = { flip: 0, area: null, ratio: 4 / 3 };
const CUT: Augmentation = { flip: 0.5, area: [0.08, 1], ratio: 4 / 3 };
const draw = (record: number, epoch = 0): Draw => ({ key: [1, 2], record, epoch });
const digest = ({ width, height, pixels }: Picture) => [width, height, ...pixels].join();

describe('augment', () => {
  const picture = located(40, 30);
  const many = Array.from({ length: 2000 }, (_, record) => augment(picture, CUT, draw(record)));

  it('leaves a picture alone, or mirrors it', () => {
    expect(augment(picture, NONE, draw(0))).toEqual(picture);
    const { pixels } = augment(picture, { ...NONE, flip: 1 }, draw(0));
    expect([...pixels.subarray(0, 6)]).toEqual([39, 0, 7, 38, 0, 7]);
    const grey = augment(
      { width: 3, height: 1, channels: 1, pixels: Uint8Array.of(1, 2, 3) },
      { ...NONE, flip: 1 },
      draw(0),
    );
    expect([...grey.pixels]).toEqual([3, 2, 1]);
  });

  it('depends on key, record and epoch, and on nothing else', () => {
    const again = [7, 3].map((record) => digest(augment(picture, CUT, draw(record))));
    expect(again).toEqual([digest(many[7]!), digest(many[3]!)]);
    const others = [
      draw(7),
      draw(8),
      draw(7, 1),
      { ...draw(7), key: [1, 3] as const },
      { ...draw(7), key: [2, 2] as const },
    ];
    expect(new Set(others.map((other) => digest(augment(picture, CUT, other)))).size).toBe(5);
  });

  it('keeps to one set of draws for ever', () => {
    const shapes = many.slice(0, 4).map(({ width, height, pixels }) => [width, height, pixels[0], pixels[1]]);
    expect(shapes).toEqual([
      [35, 27, 4, 3],
      [19, 24, 21, 4],
      [30, 23, 9, 0],
      [24, 22, 24, 7],
    ]);
  });

  it('cuts rectangles out of the picture', () => {
    const isRectangle = ({ width, height, pixels }: Picture) => {
      const step = pixels[3]! - pixels[0]!;
      const isHere = (i: number) =>
        pixels[3 * i] === pixels[0]! + step * (i % width) &&
        pixels[3 * i + 1] === pixels[1]! + Math.floor(i / width);
      return Math.abs(step) === 1 && Array.from({ length: width * height }, (_, i) => i).every(isHere);
    };
    expect(many.filter((one) => !isRectangle(one))).toEqual([]);
    const isWithin = ({ width, height }: Picture) =>
      // The bounds, plus the rounding of both sides.
      width - 0.5 <= (height + 0.5) * (4 / 3) &&
      height - 0.5 <= (width + 0.5) * (4 / 3) &&
      (width + 0.5) * (height + 0.5) >= 0.08 * 1200;
    expect(many.filter((one) => !isWithin(one))).toEqual([]);
  });

  it('has the distribution that it claims', () => {
    // So small that every try fits.
    const config: Augmentation = { ...CUT, area: [0.1, 0.4] };
    const small = Array.from({ length: 2000 }, (_, record) => augment(picture, config, draw(record, 1)));
    const mean = (value: (picture: Picture) => number) =>
      small.reduce((sum, one) => sum + value(one), 0) / small.length;
    // Five standard deviations of a mean of 2,000, and a little for rounding.
    const near = (value: number, expected: number, deviation: number) =>
      expect(Math.abs(value - expected)).toBeLessThan((5 * deviation) / Math.sqrt(small.length));
    const left = ({ width, pixels }: Picture) => Math.min(pixels[0]!, pixels[3 * width - 3]!);
    near(
      mean(({ pixels }) => Number(pixels[3]! < pixels[0]!)),
      0.5,
      0.5,
    );
    near(
      mean(({ width, height }) => (width * height) / 1200),
      0.25,
      0.3 / Math.sqrt(12),
    );
    near(
      mean(({ width, height }) => Math.sign(width - height)),
      0,
      1,
    );
    near(
      mean((one) => left(one) / (40 - one.width)),
      0.5,
      1 / Math.sqrt(12),
    );
    near(
      mean(({ height, pixels }) => pixels[1]! / (30 - height)),
      0.5,
      1 / Math.sqrt(12),
    );
  });

  it('takes the centre of a picture that is too long', () => {
    const { width, height, pixels } = augment(located(100, 3), { ...CUT, flip: 0, area: [0.9, 1] }, draw(0));
    expect([width, height, pixels[0]]).toEqual([4, 3, 48]);
  });
});
