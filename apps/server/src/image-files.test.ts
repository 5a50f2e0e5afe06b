import type { ImageDecoder } from '@s3t/data';
import { expect, it } from 'vitest';
import { ImageFiles } from './image-files.ts';
import { settle } from './testing/request.ts';

const { signal } = new AbortController();
const pathOf = (index: number) => `inputs.${index}`;

/** A PNG by its first bytes, that says how many lines of 4096 pixels it has. */
const file = (lines: number): Uint8Array =>
  Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, lines >> 8, lines & 255, 0, 0);

/** Tells what it is asked for, and obeys its limit as decoders do: none is no limit. */
function decoder(): { asked: number[] } & ImageDecoder {
  const asked: number[] = [];
  return {
    name: 'lines',
    asked,
    decode: async (bytes, _, most = 0) => {
      const height = bytes[8]! * 256 + bytes[9]!;
      if (most > 0 && 4096 * height > most) throw new Error('too large');
      asked.push(height);
      return { width: 4096, height, channels: 1, pixels: new Uint8Array() };
    },
  };
}

it('decodes large files in turns, small ones at once, and gives room back with the answers', async () => {
  const lines = decoder();
  const images = new ImageFiles(lines);
  const large = Array.from({ length: 6 }, () => images.decode([file(4096)], pathOf, signal));
  await settle();
  expect(lines.asked).toEqual([4096, 4096, 4096, 4096]);
  // 2^20 pixels together, and a line more.
  await images.decode([file(128), file(128)], pathOf, signal);
  const more = images.decode([file(128), file(129)], pathOf, signal);
  await settle();
  expect(lines.asked.slice(4)).toEqual([128, 128, 128]);
  const [first, second] = await Promise.all(large.slice(0, 2));
  first![Symbol.dispose]();
  first![Symbol.dispose]();
  await settle();
  expect(lines.asked.slice(7)).toEqual([4096]);
  second![Symbol.dispose]();
  await settle();
  expect(lines.asked.slice(8)).toEqual([4096]);
  (await large[2])![Symbol.dispose]();
  expect((await more).inputs).toHaveLength(2);
  expect(lines.asked.slice(9)).toEqual([129]);
  // Room that was not needed goes back at once.
  (await large[3])![Symbol.dispose]();
  await images.decode([file(2048)], pathOf, signal);
  expect(lines.asked.slice(10)).toEqual([2048]);
});

it('keeps no room for what is refused, or nobody waits for', async () => {
  const lines = decoder();
  const images = new ImageFiles(lines);
  for (let time = 0; time < 5; time++) {
    const refused = images.decode([file(4096), file(1)], pathOf, signal);
    await expect(refused).rejects.toMatchObject({ status: 400, path: 'inputs.1' });
    const gone = images.decode([file(4096)], pathOf, AbortSignal.abort());
    await expect(gone).rejects.toMatchObject({ code: 'gone' });
    await expect(images.decode([file(4097)], pathOf, signal)).rejects.toMatchObject({ path: 'inputs.0' });
  }
  expect(lines.asked).toEqual(new Array(5).fill(4096));
  await images.decode([file(4096)], pathOf, signal);
});
