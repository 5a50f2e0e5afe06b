import { sources } from '@s3t/kernels';
import { afterEach, expect, test, vi } from 'vitest';
import { Device, EngineError, matmul, scope, tensor } from './index.ts';
import { trainingBlock } from './testing/block.ts';

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

test('kernels of every class pass, and every one that a training step launches is among those checked', async () => {
  const dispatch = vi.spyOn(Device.prototype, 'dispatch');
  const launched = () => new Set(dispatch.mock.calls.splice(0).map(([kernel]) => kernel));
  for (const adapterClass of [undefined, 'gpu', 'portable'] as const) {
    const onWarning = vi.fn();
    using device = await Device.open({ adapterClass, selfCheck: true, onWarning });
    expect(onWarning).not.toHaveBeenCalled();
    if (adapterClass) expect(device.adapterClass).toBe(adapterClass);
    const checked = launched();
    const block = trainingBlock(device);
    block.prepare(0);
    scope(() => block.step());
    // The same on all classes, and no products; dropout draws what no reference on the host does.
    const others = ['optimiser/adamw', 'optimiser/clip_factor', 'random/dropout'];
    expect([...launched()].filter((kernel) => !checked.has(kernel)).sort()).toEqual(others);
    block.dispose();
  }
}, 120_000);

test.each([
  [
    'wrong',
    'attention/forward_tiled',
    'sum[i] / divisor',
    '1.001 * sum[i] / divisor',
    /attention of .*relative error 0\.00/,
  ],
  [
    'not a number, and used by gradients only',
    'matmul/combine',
    'params.alpha * sum',
    'log(-1.0 - params.alpha * params.alpha)',
    /the gpu kernels are wrong \(the gradient of matmul of \[\[520,12\],\[36,12\]\] for input 1: relative error NaN[^;]*\); using/,
  ],
  [
    'no WGSL',
    'matmul/tiled',
    'params.alpha * sum[i][j][part]',
    'undeclared',
    /kernel matmul\/tiled .* does not compile/,
  ],
])(
  'a kernel that is %s: one warning, and portable kernels that are right',
  async (_what, kernel, text, by, reason) => {
    spoil(kernel, text, by);
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

// Kernels that do the same for other widths are not spoilt together: each must be found by itself.
test.each([
  {
    spoilt: [
      ['attention/backward_query', 'sum[i] * scale', 'sum[i]'],
      ['norm/layer_norm_backward', '- mean_h -', '-'],
      ['norm/rms_norm_backward', '* slope', ''],
      ['norm/softmax_backward', ' - sum);', ');'],
      ['elementwise/binary', 'gelu_slope(a) * b', 'gelu_slope(b) * a'],
      ['matmul/activation_backward', 'slope(x[i]) *', '1.01 * slope(x[i]) *'],
      ['loss/cross_entropy_backward', 'i == label', 'i + 1u == label'],
    ],
    found: {
      ...{ attention: [0], layerNorm: [0], rmsNorm: [0], softmax: [0] },
      ...{ gelu: [0], linear: [0, 1, 2], crossEntropy: [0] },
    },
  },
  {
    spoilt: [
      ['attention/backward_key', 'sum_key[i] * scale', 'sum_key[i] * scale * 1.001'],
      ['norm/layer_norm_backward_narrow', 'row < params.rows', 'row + 1u < params.rows'],
      ['norm/rms_norm_backward_narrow', '* slope', ''],
      ['norm/softmax_backward_wide', ' - sum);', ');'],
      ['elementwise/swiglu_backward', '(1.0 + v * (1.0 - s))', '(1.0 + v)'],
      ['loss/vocabulary_backward', '- hit', ''],
    ],
    found: {
      ...{ attention: [1], layerNorm: [0], rmsNorm: [0], softmax: [0] },
      ...{ swiglu: [0], vocabularyCrossEntropy: [0, 1] },
    },
  },
  {
    spoilt: [['attention/backward_key', 'dv[row + i] = sum_value[i]', 'dv[row + i] = sum_key[i]']],
    found: { attention: [2] },
  },
])(
  'the gradients that wrong kernels give are named, and no others: $found',
  async ({ spoilt, found }) => {
    for (const [kernel, text, by] of spoilt) spoil(kernel!, text!, by!);
    using device = await Device.open({ adapterClass: 'gpu', selfCheck: false });
    const named = new Map<string, Set<number>>();
    for (const line of await device.selfCheck()) {
      const [, name, input] = line.match(/^the gradient of (\w+) of .* for input (\d+): relative error/)!;
      named.set(name!, (named.get(name!) ?? new Set()).add(Number(input)));
    }
    const inputs = Array.from(named, ([name, places]) => [name, [...places].sort()]);
    expect(Object.fromEntries(inputs)).toEqual(found);
  },
  120_000,
);

test('nothing safer is left: an error that says what is wrong', async () => {
  spoil('elementwise/unary', '0.5 * v * (1.0 + erf', '0.4 * v * (1.0 + erf');
  const failure = await Device.open({ adapterClass: 'portable', selfCheck: true }).catch((error) => error);
  expect(failure).toBeInstanceOf(EngineError);
  expect(failure.message).toMatch(/the portable kernels are wrong \(gelu of/);
});

test('a software adapter whose products are wrong is told of when it is opened: on the console, without a listener', async ({
  skip,
}) => {
  const plain = await Device.open();
  plain.close();
  if (plain.adapterClass !== 'software') skip('no software adapter');
  spoil('matmul/panel', 'params.alpha * (sum', 'params.alpha * 1.001 * (sum');
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  using device = await Device.open();
  expect(device.adapterClass).toBe('portable');
  expect(warn.mock.calls).toEqual([[expect.stringMatching(/the software kernels are wrong \(matmul of/)]]);
});
