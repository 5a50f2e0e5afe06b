import { describe, expect, it } from 'vitest';
import { split } from './dataset.ts';
import { renderGlyphs } from './glyphs.ts';
import { pixels, side } from './pen.ts';

// Pen paths only: fonts may be missing where tests run.
const digits = { seed: 3, classes: [...'0123456789'], handwriting: 1 };

describe('renderGlyphs', () => {
  it('gives the same image at the same place, however many are asked for', () => {
    const few = renderGlyphs({ ...digits, count: 20 });
    const more = renderGlyphs({ ...digits, count: 50 });
    expect(more.images.subarray(0, 20 * pixels)).toEqual(few.images);
    expect(more.labels.subarray(0, 20)).toEqual(few.labels);
    expect(renderGlyphs({ ...digits, seed: 4, count: 20 }).images).not.toEqual(few.images);
  });

  it('fits the ink into 20 x 20 and centres its mass, as MNIST does', () => {
    const { images } = renderGlyphs({ ...digits, count: 200 });
    for (let n = 0; n < 200; n++) {
      const image = images.subarray(n * pixels, (n + 1) * pixels);
      let [mass, mx, my] = [0, 0, 0];
      const rows = new Set<number>();
      const columns = new Set<number>();
      image.forEach((value, i) => {
        const [x, y] = [i % side, Math.floor(i / side)];
        mass += value;
        mx += value * x;
        my += value * y;
        if (value > 127) {
          rows.add(y);
          columns.add(x);
        }
      });
      expect(Math.max(rows.size, columns.size)).toBeGreaterThanOrEqual(17);
      expect(Math.max(rows.size, columns.size)).toBeLessThanOrEqual(21);
      expect(Math.abs(mx / mass - 13.5)).toBeLessThan(1);
      expect(Math.abs(my / mass - 13.5)).toBeLessThan(1);
    }
  });

  it('draws every class asked for, by its weight', () => {
    const { labels } = renderGlyphs({ ...digits, classes: ['1', '8'], weights: [3, 1], count: 2000 });
    const ones = labels.filter((label) => label === 0).length;
    expect(ones / 2000).toBeCloseTo(0.75, 1);
  });

  it('names the digit it cannot write', () => {
    expect(() => renderGlyphs({ ...digits, classes: ['10'], count: 1 })).toThrow('"10"');
  });
});

describe('split', () => {
  it('holds out its share, each record by itself', () => {
    const { train, heldOut } = split(10_000, 0.05);
    expect(heldOut.length / 10_000).toBeCloseTo(0.05, 2);
    expect(new Set([...train, ...heldOut]).size).toBe(10_000);
    expect(split(5_000, 0.05).heldOut).toEqual(heldOut.filter((i) => i < 5_000));
  });
});
