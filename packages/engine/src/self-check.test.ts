import { sources } from '@s3t/kernels';
import { afterEach, expect, test, vi } from 'vitest';
import { Device, EngineError, matmul, tensor } from './index.ts';

const table = sources as Record<string, string>;
const original = { ...table };
afterEach(() => {
  Object.assign(table, original);
  vi.restoreAllMocks();
});

/** Replaces a part of a kernel's text until the test is over. */
function spoil(kernel: string, text: string, by: string): void {
  expect(table[kernel]).toContain(text);
  table[kernel] = table[kernel]!.replace(text, by);
}

test('kernels of every class pass', async () => {
  for (const adapterClass of [undefined, 'gpu', 'portable'] as const) {
    const onWarning = vi.fn();
    using device = await Device.open({ adapterClass, selfCheck: true, onWarning });
    expect(onWarning).not.toHaveBeenCalled();
    if (adapterClass) expect(device.adapterClass).toBe(adapterClass);
  }
}, 120_000);

test.each([
  [
    'wrong',
    'params.alpha * sum[i][j]',
    'params.alpha * sum[i][j] * 1.001',
    /matmul of .*relative error 0\.00/,
  ],
  [
    'not a number',
    'params.alpha * sum[i][j]',
    'log(-1.0 - params.alpha * params.alpha)',
    /relative error NaN/,
  ],
  ['no WGSL', 'params.alpha * sum[i][j]', 'undeclared', /kernel matmul\/tiled .* does not compile/],
])(
  'a kernel that is %s: one warning, and portable kernels that are right',
  async (_what, text, by, reason) => {
    spoil('matmul/tiled', text, by);
    const onWarning = vi.fn();
    using device = await Device.open({ adapterClass: 'gpu', onWarning });
    expect(device.adapterClass).toBe('portable');
    expect(onWarning).toHaveBeenCalledTimes(1);
    const message: string = onWarning.mock.calls[0]![0];
    expect(message).toMatch(reason);
    expect(message).toContain('the gpu kernels are wrong');
    expect(message).toContain('using the portable ones, which are slower');
    expect(message.split('\n')).toHaveLength(1);
    using product = matmul(tensor(device, [1, 2, 3, 4], [2, 2]), tensor(device, [1, 0, 0, 1], [2, 2]));
    expect([...(await product.read())]).toEqual([1, 2, 3, 4]);
  },
  120_000,
);

test('without a listener the console is told', async () => {
  // As above: nothing is compiled a second time.
  spoil('matmul/tiled', 'params.alpha * sum[i][j]', 'params.alpha * sum[i][j] * 1.001');
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  using device = await Device.open({ adapterClass: 'gpu' });
  expect(device.adapterClass).toBe('portable');
  expect(warn).toHaveBeenCalledTimes(1);
});

test('nothing safer is left: an error that says what is wrong', async () => {
  spoil('matmul/registers', 'params.alpha * sum[i][j]', '0.5 * sum[i][j]');
  const failure = await Device.open({ adapterClass: 'portable', selfCheck: true }).catch((error) => error);
  expect(failure).toBeInstanceOf(EngineError);
  expect(failure.message).toMatch(/the portable kernels are wrong \(matmul of/);
});

test('a device that is open can be checked at any time', async () => {
  using device = await Device.open({ adapterClass: 'gpu', selfCheck: false });
  expect(await device.selfCheck()).toEqual([]);
});
