import { expect, test } from 'vitest';
import { fashionMnist } from './fashion-mnist.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const picture = (value: number): number[] => new Array<number>(784).fill(value);
const put10 = (first: unknown): string => {
  for (let label = 0; label < 10; label++)
    put(
      folder,
      `src/clothes/${label}.json`,
      JSON.stringify({ data: label === 0 ? first : [picture(2 * label), picture(2 * label + 1)] }),
    );
  return folder;
};

test('pictures of ten files, classes interleaved, without empty entries and twins', async () => {
  const clothes = await fashionMnist(put10([picture(0), [], picture(255), picture(0)]));
  expect(clothes.map(({ pixels, label }) => [label, pixels.length, pixels[783]]).sort()).toEqual(
    Array.from({ length: 20 }, (_, i) => [Math.floor(i / 2), 784, i === 1 ? 255 : i]).sort(),
  );
  // Either half holds every class.
  expect(new Set(clothes.slice(0, 10).map(({ label }) => label)).size).toBe(10);
});

test.each([
  [[picture(0), [1, 2]], /0\.json, row 1: is not 28 x 28 integers/],
  [[picture(0.5)], /row 0: is not 28 x 28/],
  [[], /"data" is not an array of pictures/],
])('what the package does not hold is refused', async (first, message) => {
  expect((await dataError(fashionMnist(put10(first)))).message).toMatch(message);
});

test('a missing file is named', async () => {
  expect((await dataError(fashionMnist(`${folder}/none`))).message).toMatch(/0\.json: the file does not/);
});
