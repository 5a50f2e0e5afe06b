import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { type Picture, type Preprocessing, parsePreprocessing, preprocess } from './preprocess.ts';

/** Pixels go through unchanged: no rescaling, no normalisation. */
function plain(width: number, height: number, channels: number): Preprocessing {
  const each = (value: number) => new Array<number>(channels).fill(value);
  return { size: { width, height }, channels, rescale: 1, mean: each(0), deviation: each(1) };
}

function processed(picture: Picture, to: Preprocessing): number[] {
  // One value before and after, which must stay.
  const size = to.channels * to.size.width * to.size.height;
  const target = new Float32Array(size + 2).fill(-7);
  preprocess(picture, to, target.subarray(1, size + 1));
  expect([target[0], target[size + 1]]).toEqual([-7, -7]);
  return Array.from(target.subarray(1, size + 1));
}

const grey = (width: number, height: number, pixels: number[]): Picture => ({
  width,
  height,
  channels: 1,
  pixels: Uint8Array.from(pixels),
});
const colour = (width: number, height: number, pixels: number[]): Picture => ({
  ...grey(width, height, pixels),
  channels: 3,
});

describe('preprocess at the exact size', () => {
  it('takes pixels as they are, colours as planes', () => {
    expect(processed(grey(3, 2, [0, 1, 2, 253, 254, 255]), plain(3, 2, 1))).toEqual([0, 1, 2, 253, 254, 255]);
    const picture = colour(2, 2, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(processed(picture, plain(2, 2, 3))).toEqual([1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]);
  });

  it('makes grey of colour by the weights of BT.601', () => {
    const picture = colour(4, 1, [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30]);
    const expected = [0.299 * 255, 0.587 * 255, 0.114 * 255, 2.99 + 11.74 + 3.42];
    processed(picture, plain(4, 1, 1)).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 4);
    });
    // White stays white.
    expect(processed(colour(1, 1, [255, 255, 255]), plain(1, 1, 1))[0]).toBeCloseTo(255, 4);
  });

  it('makes every colour of grey', () => {
    expect(processed(grey(2, 1, [9, 200]), plain(2, 1, 3))).toEqual([9, 200, 9, 200, 9, 200]);
  });

  it('rescales, then normalises each channel by its own mean and deviation', () => {
    const to = { ...plain(1, 1, 3), rescale: 1 / 255, mean: [0.5, 0.25, 0], deviation: [0.5, 0.25, 2] };
    const [red, green, blue] = processed(colour(1, 1, [255, 0, 51]), to);
    expect(red).toBeCloseTo(1, 6);
    expect(green).toBeCloseTo(-1, 6);
    expect(blue).toBeCloseTo(0.1, 6);
  });
});

describe('preprocess at another size', () => {
  it('enlarges with half-pixel centres: by hand', () => {
    // Centres of 4 target pixels in 2 source pixels: -0.25, 0.25, 0.75, 1.25; beyond the outer centres nothing changes.
    expect(processed(grey(2, 1, [0, 100]), plain(4, 1, 1))).toEqual([0, 25, 75, 100]);
    expect(processed(grey(1, 2, [0, 100]), plain(1, 4, 1))).toEqual([0, 25, 75, 100]);
    // 2 x 2 to 3 x 3: the middle is the mean of all, an edge's middle that of its two.
    expect(processed(grey(2, 2, [0, 100, 40, 20]), plain(3, 3, 1))).toEqual([
      0, 50, 100, 20, 40, 60, 40, 30, 20,
    ]);
  });

  it('shrinks with a triangle as wide as the target pixel: by hand', () => {
    // 4 to 2: the triangle of the first reaches from -1 to 3 around 1, weights 3/4, 3/4 and 1/4 of 7/4.
    const [left, right] = processed(grey(4, 1, [70, 0, 0, 7]), plain(2, 1, 1));
    expect(left).toBeCloseTo((70 * 3) / 7, 4);
    expect(right).toBeCloseTo((7 * 3) / 7, 4);
    expect(processed(grey(3, 1, [0, 90, 0]), plain(1, 1, 1))[0]).toBeCloseTo(
      // Triangle from -1.5 to 4.5 around 1.5, reach 3: weights 2/3, 1, 2/3.
      90 / (1 + 4 / 3),
      4,
    );
  });

  it('takes the centre of a line of pixels, whose shorter edge is enlarged, without the rest of it', () => {
    const pixels = Array.from({ length: 100_000 }, (_, i) => (i < 50_000 ? 20 : 90));
    const to = { ...plain(2, 2, 1), resized: 224 };
    expect(processed(grey(1, pixels.length, pixels), to).map(Math.round)).toEqual([55, 55, 55, 55]);
    expect(processed(grey(pixels.length, 1, pixels), to).map(Math.round)).toEqual([55, 55, 55, 55]);
  });

  it('keeps each channel apart, width and height apart', () => {
    const picture = colour(2, 1, [0, 10, 20, 100, 110, 120]);
    expect(processed(picture, plain(4, 1, 3))).toEqual([0, 25, 75, 100, 10, 35, 85, 110, 20, 45, 95, 120]);
    expect(processed(picture, plain(2, 2, 3))).toEqual([0, 100, 0, 100, 10, 110, 10, 110, 20, 120, 20, 120]);
  });

  it('makes the same grey before and after resizing', () => {
    const values = [0, 10, 20, 100, 110, 120, 5, 6, 250];
    const [a, b] = [
      processed(colour(3, 1, values), plain(5, 2, 3)),
      processed(colour(3, 1, values), plain(5, 2, 1)),
    ];
    b.forEach((value, i) => {
      expect(value).toBeCloseTo(0.299 * a[i]! + 0.587 * a[10 + i]! + 0.114 * a[20 + i]!, 4);
    });
  });

  it('leaves one colour one colour, and never leaves the range of the pixels', () => {
    const side = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(
        side,
        side,
        side,
        side,
        fc.nat({ max: 255 }),
        fc.nat(),
        (w, h, width, height, value, seed) => {
          const flat = processed(grey(w, h, new Array<number>(w * h).fill(value)), plain(width, height, 1));
          for (const v of flat) expect(v).toBeCloseTo(value, 3);
          const pixels = Array.from({ length: w * h }, (_, i) => (i * 97 + seed) % 256);
          const resized = processed(grey(w, h, pixels), plain(width, height, 1));
          expect(Math.min(...resized)).toBeGreaterThanOrEqual(Math.min(...pixels) - 1e-3);
          expect(Math.max(...resized)).toBeLessThanOrEqual(Math.max(...pixels) + 1e-3);
          // Mirrored in, mirrored out: no half-pixel is lost.
          const mirrored = processed(grey(w, h, [...pixels].reverse()), plain(width, height, 1));
          mirrored.reverse().forEach((v, i) => {
            expect(v).toBeCloseTo(resized[i]!, 3);
          });
        },
      ),
    );
  });
});

describe('preprocess against Pillow', () => {
  const path = new URL('../../../tools/reference/preprocess/reference.json', import.meta.url);
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as {
    cases: {
      picture: { width: number; height: number; pixels: number[] };
      config: Record<string, unknown>;
      expected: number[];
    }[];
  };

  it.each(cases)('case %#', ({ picture: { width, height, pixels }, config, expected }) => {
    const to = parsePreprocessing({ ...config, do_rescale: false, do_normalize: false }, 1, 'f');
    const values = processed(grey(width, height, pixels), to);
    expect(values.length).toBe(expected.length);
    // Pillow rounds to a whole level after each of the two passes.
    values.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThan(1.2);
    });
  });
});

describe('parsePreprocessing', () => {
  const valid = {
    size: { height: 8, width: 4 },
    do_resize: true,
    do_rescale: true,
    rescale_factor: 0.5,
    do_normalize: true,
    image_mean: [0.1, 0.2, 0.3],
    image_std: [1, 2, 3],
    resample: 2,
  };
  const parse = (change: Record<string, unknown> = {}, channels = 3) =>
    parsePreprocessing({ ...valid, ...change }, channels, 'base/preprocessor_config.json');

  it('reads what transformers writes', () => {
    expect(parse()).toEqual({
      size: { width: 4, height: 8 },
      channels: 3,
      rescale: 0.5,
      mean: [0.1, 0.2, 0.3],
      deviation: [1, 2, 3],
    });
    expect(parse({ rescale_factor: undefined, resample: undefined }).rescale).toBe(1 / 255);
  });

  it('reads a resize with a crop of the centre', () => {
    const crop = { do_center_crop: true, crop_size: { height: 3, width: 2 }, resample: 3 };
    expect(parse(crop)).toMatchObject({
      size: { width: 2, height: 3 },
      resized: { width: 4, height: 8 },
      filter: 'bicubic',
    });
    expect(parse({ ...crop, crop_size: 6, size: { shortest_edge: 7 } })).toMatchObject({
      size: { width: 6, height: 6 },
      resized: 7,
    });
  });

  it('leaves out the steps that are switched off', () => {
    expect(parse({ do_rescale: false }).rescale).toBe(1);
    const off = parse({ do_normalize: false, image_mean: undefined, image_std: undefined });
    expect([off.mean, off.deviation]).toEqual([
      [0, 0, 0],
      [1, 1, 1],
    ]);
  });

  it.each([
    ['size', { size: undefined }],
    ['size', { size: 224 }],
    ['size', { size: null }],
    ['size', { size: { shortest_edge: 224 } }],
    ['size', { size: { width: 4.5, height: 8 } }],
    ['size', { size: { width: 0, height: 8 } }],
    ['size', { size: { width: 4, height: -8 } }],
    ['image_mean', { image_mean: undefined }],
    ['image_mean', { image_mean: [0.5] }],
    ['image_mean', { image_mean: 0.5 }],
    ['image_mean', { image_mean: [0.5, 0.5, '0.5'] }],
    ['image_std', { image_std: undefined }],
    ['image_std', { image_std: [1, 1, 1, 1] }],
    ['image_std', { image_std: [1, 0, 1] }],
    ['image_std', { image_std: [1, null, 1] }],
    ['rescale_factor', { rescale_factor: '1/255' }],
    ['rescale_factor', { rescale_factor: null }],
    ['resample', { resample: 1 }],
    ['do_resize', { do_resize: false }],
    ['crop_pct', { crop_pct: 0.9 }],
    // Blue, green, red; a border; pixels from -1 on.
    ['do_flip_channel_order', { do_flip_channel_order: true }],
    ['do_pad', { do_pad: true }],
    ['rescale_offset', { rescale_offset: true }],
    ['crop_size', { do_center_crop: true }],
    ['crop_size', { do_center_crop: true, crop_size: 5 }],
    ['crop_size', { do_center_crop: true, crop_size: { width: 4, height: 9 } }],
    ['size', { do_center_crop: true, crop_size: 4, size: { shortest_edge: 0 } }],
  ])('refuses a wrong field %s: %j', (field, change) => {
    expect(() => parse(change)).toThrow(ModelError);
    expect(() => parse(change)).toThrow(`base/preprocessor_config.json: field ${field} `);
  });

  it('wants as many means as the model has channels', () => {
    expect(() => parse({}, 1)).toThrow('field image_mean must hold 1 numbers');
  });
});
