import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  affine,
  capture,
  Device,
  dequantise,
  empty,
  linear,
  matmul,
  quantise,
  scope,
  tensor,
  uniformValues,
  zeros,
} from './index.ts';
import { bitsOf } from './testing/block.ts';
import { refuse, refusesTheLimit } from './testing/refusal.ts';

const MIB = 2 ** 20;
const SIDE = 512;
const FORM_BYTES = SIDE * SIDE * 4;

/** A texture that nothing has memory for: 1 TiB. */
const TOO_LARGE = [16_384, 16_384, 256];

/** Lets the device refuse textures of the given size, as it does where memory is short. */
function refuseTextures(device: Device, bytes = FORM_BYTES) {
  const create = device.gpu.createTexture.bind(device.gpu);
  return vi.spyOn(device.gpu, 'createTexture').mockImplementation((descriptor) => {
    const [width = 1, height = 1] = descriptor.size as number[];
    if (width * height * 16 !== bytes) return create(descriptor);
    const refused = create({ ...descriptor, size: TOO_LARGE });
    return Object.defineProperties(refused, { width: { value: width }, height: { value: height } });
  });
}

/** Whether products of this adapter read texture forms, and those can be refused. */
async function refusesForms(): Promise<boolean> {
  using device = await Device.open();
  const { gpu, adapterClass } = device;
  if (adapterClass !== 'software' || gpu.limits.maxTextureDimension2D < TOO_LARGE[0]!) return false;
  gpu.pushErrorScope('out-of-memory');
  gpu.createTexture({ size: TOO_LARGE, format: 'rgba32float', usage: 0x02 }).destroy();
  return (await gpu.popErrorScope()) !== null;
}

const SHORTAGE = new RegExp(
  `^out of memory: the texture form of a product's operand of shape \\[${SIDE},${SIDE}\\], ${FORM_BYTES} bytes; texture forms hold \\d+ with it$`,
);

afterEach(() => vi.restoreAllMocks());

describe.skipIf(!((await refusesForms()) && (await refusesTheLimit())))(
  'out of memory for texture forms',
  () => {
    const weights = () => uniformValues(SIDE * SIDE, 1, [7, 1], 0);
    const rows = (device: Device) => tensor(device, uniformValues(8 * SIDE, 1, [7, 1], 1), [8, SIDE]);

    /** The bits of a product, where there is memory. */
    async function expectedBits(): Promise<string> {
      using device = await Device.open();
      using product = scope(() => matmul(rows(device), tensor(device, weights(), [SIDE, SIDE])));
      return bitsOf(await product.read());
    }

    test('the error names the operand; the next product is granted, to the same bits', async () => {
      const expected = await expectedBits();
      using device = await Device.open();
      const [x, weight] = [rows(device), tensor(device, weights(), [SIDE, SIDE], { constant: true })];
      await device.idle();
      const { textureBytes } = device.memory();
      const refusal = refuseTextures(device);
      using product = scope(() => matmul(x, weight));
      await expect(product.read()).rejects.toThrow(SHORTAGE);
      await expect(device.idle()).rejects.toThrow(SHORTAGE);
      refusal.mockRestore();
      await device.idle();
      for (let i = 0; i < 2; i++) {
        using again = scope(() => matmul(x, weight));
        expect(bitsOf(await again.read())).toBe(expected);
      }
      for (const each of [x, weight]) each.destroy();
      expect(device.memory().textureBytes).toBe(textureBytes);
    });

    test('a form that was to be filled when a buffer was refused is filled by the next product', async () => {
      const expected = await expectedBits();
      using device = await Device.open();
      using weight = tensor(device, weights(), [SIDE, SIDE], { constant: true });
      await device.idle();
      const refusal = refuse(device, 4 * MIB);
      using x = rows(device);
      const big = empty(device, [MIB]);
      // What is queued beside the use of it does not run.
      scope(() => affine(big, 2)).dispose();
      scope(() => matmul(x, weight)).dispose();
      await expect(big.read()).rejects.toThrow('out of memory: a tensor of shape [1048576]');
      refusal.mockRestore();
      using same = rows(device);
      using again = scope(() => matmul(same, weight));
      expect(bitsOf(await again.read())).toBe(expected);
      big.dispose();
    });

    test('that of a frozen weight', async () => {
      using device = await Device.open();
      using x = tensor(device, uniformValues(64 * SIDE, 1, [7, 1], 2), [64, SIDE]);
      using weight = quantise(device, weights(), [SIDE, SIDE], 'int8');
      using bias = zeros(device, [SIDE]);
      await device.idle();
      const refusal = refuseTextures(device);
      using product = scope(() => linear(x, weight, bias));
      await expect(product.read()).rejects.toThrow(SHORTAGE);
      refusal.mockRestore();
      using again = scope(() => linear(x, weight, bias));
      using plain = quantise(device, weights(), [SIDE, SIDE], 'int8');
      using expected = scope(() => linear(x, dequantise(plain), bias));
      expect(bitsOf(await again.read())).toBe(bitsOf(await expected.read()));
    });

    test.each([true, false])('in a captured step, the operand being constant: %s', async (constant) => {
      const expected = await expectedBits();
      using device = await Device.open();
      using x = rows(device);
      using weight = tensor(device, weights(), [SIDE, SIDE], { constant });
      await device.idle();
      const shortage = constant ? SHORTAGE : /^out of memory: a texture of a captured step, 1048576 bytes; /;
      const refusal = refuseTextures(device);
      const step = capture(device, () => matmul(x, weight));
      step.replay();
      await expect(step.outputs.read()).rejects.toThrow(shortage);
      refusal.mockRestore();
      await expect(device.idle()).rejects.toThrow(shortage);
      // And not only while the answer is outstanding.
      expect(() => step.replay()).toThrow(shortage);
      step.dispose();
      await device.idle();
      const second = capture(device, () => matmul(x, weight));
      second.replay();
      expect(bitsOf(await second.outputs.read())).toBe(expected);
      second.dispose();
    });

    test('a captured step without buffers cannot be replayed later either, and is disposed', async () => {
      using device = await Device.open();
      using x = zeros(device, [SIDE, SIDE]);
      await device.idle();
      const refusal = refuse(device, FORM_BYTES);
      const step = capture(device, () => affine(x, 2, 1));
      refusal.mockRestore();
      await expect(device.idle()).rejects.toThrow('out of memory: memory of a captured step');
      expect(() => step.replay()).toThrow('out of memory: memory of a captured step');
      step.dispose();
      await device.idle();
      const second = capture(device, () => affine(x, 2, 1));
      second.replay();
      expect((await second.outputs.read()).every((value) => value === 1)).toBe(true);
      second.dispose();
    });

    test('a step that uses a value without memory is not captured, and takes none', async () => {
      using device = await Device.open();
      const refusal = refuse(device, FORM_BYTES);
      using big = zeros(device, [SIDE, SIDE]);
      refusal.mockRestore();
      await expect(device.idle()).rejects.toThrow('out of memory');
      const { liveBytes } = device.memory();
      expect(() => capture(device, () => affine(big, 2))).toThrow(
        'out of memory: a tensor of shape [512,512]',
      );
      expect(device.memory().liveBytes).toBe(liveBytes);
    });
  },
);
