import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { capture, Device, operations, zeros } from './index.ts';
import type { Storage } from './storage.ts';
import { bitsOf, bitsOfAll, trainedBits, trainingBlock } from './testing/block.ts';
import { computeCase } from './testing/check-case.ts';

const COMPILING = 240_000;
const STEPS = 8;

let device: Device;
let expected: string[];
beforeAll(async () => {
  device = await Device.open();
  expected = await trainedBits(device, STEPS);
}, COMPILING);
afterAll(() => device.close());
afterEach(() => vi.restoreAllMocks());

test('training learns something in every step', () => {
  expect(new Set(expected.slice(0, STEPS)).size).toBe(STEPS);
  expect(expected.join()).not.toMatch(/0000c07f|0000c0ff/); // NaN
});

test('the same training twice in a process gives the same bits', async () => {
  expect(await trainedBits(device, STEPS)).toEqual(expected);
});

test(
  'a fresh process, with another number of threads, gives the same bits',
  async () => {
    const child = fileURLToPath(new URL('./testing/train-child.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=@s3t/source', child, `${STEPS}`],
      { env: { ...process.env, LP_NUM_THREADS: '1' }, timeout: COMPILING },
    );
    expect(JSON.parse(stdout)).toEqual(expected);
  },
  COMPILING,
);

/** Fills every buffer and texture with the given word whenever it is handed out. */
function poison(word: number): { poisoned: () => number } {
  let count = 0;
  const words = (bytes: number) => new Uint32Array(bytes / 4).fill(word);
  const originals = {
    allocate: device.allocate.bind(device),
    allocateBuffer: device.allocateBuffer.bind(device),
    takeTexture: device.takeTexture.bind(device),
  };
  vi.spyOn(device, 'allocate').mockImplementation((bytes) => {
    const storage = originals.allocate(bytes);
    if (!storage.isVirtual) {
      count++;
      device.flush();
      device.gpu.queue.writeBuffer(storage.buffer, 0, words(storage.buffer.size));
    }
    return storage;
  });
  vi.spyOn(device, 'allocateBuffer').mockImplementation((bytes) => {
    const buffer = originals.allocateBuffer(bytes);
    count++;
    device.flush();
    device.gpu.queue.writeBuffer(buffer, 0, words(buffer.size));
    return buffer;
  });
  vi.spyOn(device, 'takeTexture').mockImplementation((width, height) => {
    const texture = originals.takeTexture(width, height);
    count++;
    device.flush();
    device.gpu.queue.writeTexture({ texture }, words(width * height * 16), { bytesPerRow: width * 16 }, [
      width,
      height,
    ]);
    return texture;
  });
  return { poisoned: () => count };
}

// NaN, which spreads through sums and products with zero; infinity; and a huge index.
test.each([0xffffffff, 0x7f800000, 0x7f7fffff])(
  'memory full of 0x%s when it is handed out changes no bit, eager or captured',
  async (word) => {
    const { poisoned } = poison(word);
    expect(await trainedBits(device, STEPS)).toEqual(expected);
    expect(poisoned()).toBeGreaterThan(100);

    const block = trainingBlock(device);
    const step = capture(device, () => block.step());
    const bits: string[] = [];
    for (let at = 0; at < STEPS; at++) {
      block.prepare(at);
      step.replay();
      bits.push(bitsOf(await step.outputs.loss.read()));
    }
    bits.push(...(await bitsOfAll(block.parameters)));
    expect(bits).toEqual(expected);
    step.dispose();
    block.dispose();
  },
);

test(
  'nor any bit of any operation and its gradient, whatever its shape',
  async () => {
    const clean = await bitsOfOperations();
    poison(0xffffffff);
    expect(await bitsOfOperations()).toEqual(clean);
  },
  COMPILING,
);

/** The bits of every operation's cases and of their gradients. */
async function bitsOfOperations(): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const [name, operation] of operations)
    for (const testCase of operation.declaration.cases) {
      const { values } = await computeCase(device, operation, testCase);
      found[`${name} ${JSON.stringify(testCase)}`] = values.map(bitsOf);
    }
  return found;
}

test('another order of allocations changes no bit', async () => {
  const held: Storage[] = [];
  const allocate = device.allocate.bind(device);
  let count = 0;
  vi.spyOn(device, 'allocate').mockImplementation((bytes) => {
    // Every third allocation takes a buffer of the size away first, every fifth gives the oldest such one back.
    if (++count % 3 === 0) held.push(allocate(bytes));
    if (count % 5 === 0) held.shift()?.release();
    return allocate(bytes);
  });
  expect(await trainedBits(device, STEPS)).toEqual(expected);
  vi.restoreAllMocks();
  for (const each of held) each.release();
});

test('other work between the steps changes no bit', async () => {
  const other = trainingBlock(device);
  const otherStep = capture(device, () => other.step());
  const block = trainingBlock(device);
  const step = capture(device, () => block.step());
  const bits: string[] = [];
  for (let at = 0; at < STEPS; at++) {
    block.prepare(at);
    other.prepare(100 - at);
    otherStep.replay();
    step.replay();
    zeros(device, [1000 + at]).dispose();
    otherStep.replay();
    bits.push(bitsOf(await step.outputs.loss.read()));
  }
  bits.push(...(await bitsOfAll(block.parameters)));
  expect(bits).toEqual(expected);
  for (const each of [step, otherStep, block, other]) each.dispose();
});
