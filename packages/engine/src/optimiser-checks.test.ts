import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  capture,
  Device,
  EngineError,
  GradientAccumulator,
  SGD,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from './index.ts';

let device: Device;
let other: Device;
beforeAll(async () => {
  device = await Device.open();
  other = await Device.open();
});
afterAll(() => {
  device.close();
  other.close();
});

interface Taker {
  take(gradients: readonly Tensor[]): void;
  dispose(): void;
}

const TAKERS: [string, (parameters: readonly Tensor[]) => Taker][] = [
  ['AdamW', (parameters) => stepping(new AdamW(device, parameters, { clipNorm: 1 }))],
  ['SGD', (parameters) => stepping(new SGD(device, parameters, { clipNorm: 1 }))],
  [
    'GradientAccumulator',
    (parameters) => {
      const sums = new GradientAccumulator(device, parameters);
      return { take: (gradients) => sums.add(gradients), dispose: () => sums.dispose() };
    },
  ],
];

function stepping(optimiser: AdamW | SGD): Taker {
  optimiser.begin(0.1);
  return { take: (gradients) => optimiser.apply(gradients), dispose: () => optimiser.dispose() };
}

describe.each(TAKERS)('%s', (name, make) => {
  test('gradients that do not fit are refused by name, and change nothing', async () => {
    const parameters = [tensor(device, [1, 2]), tensor(device, [1, 2, 3, 4, 5, 6], [2, 3])];
    const taker = make(parameters);
    const first = zeros(device, [2]);
    const gone = zeros(device, [2, 3]);
    gone.dispose();
    const refused: [string, readonly Tensor[], typeof EngineError][] = [
      ['0 gradients for 2 parameters', [], EngineError],
      ['3 gradients for 2 parameters', [first, first, first], EngineError],
      ['gradient 1 of shape [2,3] is disposed', [first, gone], EngineError],
      [
        'gradient 1 of shape [2,3] holds u32, not f32',
        [first, zeros(device, [2, 3], { dtype: 'u32' })],
        ShapeError,
      ],
      ['gradient 1 of shape [2,3] is on another device', [first, zeros(other, [2, 3])], EngineError],
      [
        'gradient 1 and its parameter: shapes [2,4] and [2,3] differ in axis 1',
        [first, zeros(device, [2, 4])],
        ShapeError,
      ],
      [
        'gradient 1 and its parameter: shapes [6] and [2,3] differ in rank',
        [first, zeros(device, [6])],
        ShapeError,
      ],
    ];
    for (const [message, gradients, kind] of refused)
      expect(() => taker.take(gradients)).toThrow(new kind(`${name}: ${message}`));
    expect([...(await parameters[0]!.read())]).toEqual([1, 2]);
    await device.idle();
    await other.idle();
    taker.dispose();
  });

  test('parameters that cannot be trained are refused by name', () => {
    const parameter = zeros(device, [3]);
    expect(() => make([parameter, zeros(device, [2, 2], { dtype: 'u32' })])).toThrow(
      new ShapeError(`${name}: parameter 1 of shape [2,2] holds u32, not f32`),
    );
    expect(() => make([parameter, zeros(device, [4], { dtype: 'f16' })])).toThrow(
      new ShapeError(`${name}: parameter 1 of shape [4] holds f16, not f32`),
    );
    expect(() => make([zeros(other, [3])])).toThrow(
      new EngineError(`${name}: parameter 0 of shape [3] is on another device`),
    );
    expect(() => make([tensor(device, [1, 2], [2], { constant: true })])).toThrow(
      new EngineError(`${name}: parameter 0 of shape [2] is constant`),
    );
    const taker = make([parameter]);
    if (name === 'GradientAccumulator') taker.dispose();
    else parameter.dispose();
    const what = name === 'GradientAccumulator' ? 'sum' : 'parameter';
    expect(() => taker.take([zeros(device, [3])])).toThrow(
      new EngineError(`${name}: ${what} 0 of shape [3] is disposed`),
    );
    taker.dispose();
  });
});

test.each([AdamW, SGD])(
  '%o without a learning rate yet trains nothing, and says so where it can',
  async (Optimiser) => {
    const parameter = tensor(device, [1, 2], [2], { trainable: true });
    const gradient = tensor(device, [3, 4]);
    const optimiser = new Optimiser(device, [parameter]);
    expect(() => optimiser.apply([gradient])).toThrow(
      new EngineError(`${Optimiser.name}: begin() sets the learning rate of a step before apply()`),
    );
    // A captured step may be replayed before it.
    const step = capture(device, () => optimiser.apply([gradient]));
    step.replay();
    expect([...(await parameter.read())]).toEqual([1, 2]);
    for (const each of [step, optimiser, parameter, gradient]) each.dispose();
  },
);

test('gradients in the memory that they would change are refused, and spoil no device', async () => {
  const parameters = [tensor(device, [1, 2]), tensor(device, [1, 2, 3, 4], [2, 2])];
  const sums = new GradientAccumulator(device, parameters);
  const fitting = zeros(device, [2]);
  const refused = (name: string) =>
    new EngineError(`${name}: gradient 1 of shape [2,2] is in the memory that it would change`);
  for (const Optimiser of [AdamW, SGD]) {
    const optimiser = stepping(new Optimiser(device, parameters, { clipNorm: 1 }));
    expect(() => optimiser.take([fitting, parameters[1]!])).toThrow(refused(Optimiser.name));
    optimiser.dispose();
  }
  expect(() => sums.add([fitting, sums.gradients[1]!])).toThrow(refused('GradientAccumulator'));
  await device.idle();
  expect([...(await parameters[1]!.read())]).toEqual([1, 2, 3, 4]);
  for (const each of [sums, fitting, ...parameters]) each.dispose();
});
