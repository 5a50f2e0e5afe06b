import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  affine,
  byteHash,
  byteHashOf,
  cast,
  Device,
  quantise,
  scope,
  tensor,
  uniformValues,
  zeros,
} from '../index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const bytesOf = (values: Float32Array | Uint32Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

async function onDevice(values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Promise<string> {
  using x = tensor(device, values);
  return byteHash(x);
}

test.each([1, 2, 3, 64, 65, 4096, 4097, 20_001])('%i values: device and host agree', async (count) => {
  const values = uniformValues(count, 1, [1, 1], 0);
  const hash = await onDevice(values);
  expect(hash).toMatch(/^[0-9a-f]{32}$/);
  expect(hash).toBe(byteHashOf(bytesOf(values)));
  expect(await onDevice(new Uint32Array(values.buffer))).toBe(hash);
});

test('a value that must never change, for hashes are kept', () => {
  expect(byteHashOf(Uint8Array.of(1, 2, 3, 4, 5))).toBe('85b08c2b64abc01aaa0cc80c802dc1dd');
});

test('every flip of one bit gives another hash, and so does every swap of neighbours', async () => {
  const words = new Uint32Array(uniformValues(6, 1, [2, 1], 0).buffer);
  const hashes = [await onDevice(words)];
  for (let bit = 0; bit < 32 * words.length; bit++) {
    const changed = words.slice();
    changed[bit >> 5]! ^= 1 << (bit & 31);
    hashes.push(byteHashOf(bytesOf(changed)));
  }
  for (let i = 1; i < words.length; i++) {
    const changed = words.slice();
    [changed[i - 1], changed[i]] = [words[i]!, words[i - 1]!];
    hashes.push(byteHashOf(bytesOf(changed)));
  }
  expect(new Set(hashes).size).toBe(1 + 32 * 6 + 5);
  for (let lane = 0; lane < 4; lane++)
    expect(new Set(hashes.map((hash) => hash.slice(8 * lane, 8 * lane + 8))).size).toBe(hashes.length);
});

test('a flip of one bit anywhere in a large tensor is seen on the device', async () => {
  const words = new Uint32Array(9001);
  const clean = await onDevice(words);
  for (const at of [0, 63, 4095, 4096, 8192, 9000]) {
    const changed = words.slice();
    changed[at] = 1;
    const hash = await onDevice(changed);
    expect(hash).not.toBe(clean);
    expect(hash).toBe(byteHashOf(bytesOf(changed)));
  }
});

test('a frozen weight is hashed as it is packed', async () => {
  using weight = quantise(device, uniformValues(3 * 64, 1, [1, 1], 0), [3, 64], 'int8');
  expect(await byteHash(weight)).toBe(byteHashOf(bytesOf(await weight.readUint32())));
});

test('an odd number of f16 is hashed as if zeros were behind it, whatever its kernel left there', async () => {
  for (const value of [1, 2]) {
    using packed = quantise(device, new Float32Array(3).fill(value), [3], 'f16');
    using computed = scope(() => affine(cast(zeros(device, [3]), 'f16'), 1, value));
    expect(await byteHash(computed)).toBe(await byteHash(packed));
    expect(await byteHash(packed)).toBe(byteHashOf(bytesOf(await packed.readUint32())));
  }
});

test('zeros of different numbers differ', async () => {
  const hashes = [1, 2, 3, 4, 5, 8].map((count) => byteHashOf(new Uint8Array(count)));
  expect(new Set(hashes).size).toBe(6);
});
