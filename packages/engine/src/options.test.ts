import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  type AdamWOptions,
  attention,
  cast,
  Device,
  type DeviceOptions,
  dropout,
  EngineError,
  expand,
  iota,
  layerNorm,
  learningRateAt,
  linear,
  mean,
  mergeLora,
  packWeight,
  randomState,
  reshape,
  rmsNorm,
  ropeTable,
  type ScheduleOptions,
  SGD,
  type SGDOptions,
  total,
  uniform,
  unpackWeight,
  zeros,
} from './index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const z = (...shape: number[]) => zeros(device, shape);
/** As a caller without types may pass it. */
const any = <T>(value: unknown) => value as T;

describe('options out of their range are refused by name, and spoil no device', () => {
  const adamW = (options: AdamWOptions) => () => new AdamW(device, [z(2)], options);
  const sgd = (options: SGDOptions) => () => new SGD(device, [z(2)], options);
  const heads = (count: number, keyValueHeads: number) => () =>
    attention(z(1, 2, 24), z(1, 2, 24), z(1, 2, 24), count, { keyValueHeads });
  const state = () => randomState(device, [1, 2]);
  const rate = (step: number, options: Partial<ScheduleOptions>) => () =>
    learningRateAt(step, { schedule: 'linear', learningRate: 1, steps: 10, ...options });
  const scaled = (factor: number, low = 1, high = 4) =>
    ropeTable(device, {
      headWidth: 8,
      positions: 4,
      scaling: { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions: 64 },
    });
  const word = 'is not a whole number of 0 to 2^32 - 1';

  const cases: [string, () => unknown][] = [
    ['AdamW: betas 0.9,1 are not within [0, 1)', adamW({ betas: [0.9, 1] })],
    ['AdamW: betas NaN,0.9 are not within [0, 1)', adamW({ betas: [Number.NaN, 0.9] })],
    ['AdamW: epsilon -1 is not a number of 0 or more', adamW({ epsilon: -1 })],
    ['AdamW: weightDecay NaN is not a number of 0 or more', adamW({ weightDecay: Number.NaN })],
    ['AdamW: clipNorm NaN is not a number of 0 or more', adamW({ clipNorm: Number.NaN })],
    ['AdamW: clipNorm -1 is not a number of 0 or more', adamW({ clipNorm: -1 })],
    ['AdamW: learningRate NaN is not a number of 0 or more', () => adamW({})().begin(Number.NaN)],
    ['SGD: momentum -1 is not a number of 0 or more', sgd({ momentum: -1 })],
    ['SGD: clipNorm -1 is not a number of 0 or more', sgd({ clipNorm: -1 })],
    ['SGD: learningRate -0.1 is not a number of 0 or more', () => sgd({})().begin(-0.1)],
    [
      'attention: 1.5 heads of q [1,2,24] and 1.5 of k [1,2,24] must be whole numbers of 1 or more',
      heads(1.5, 1.5),
    ],
    [
      'attention: -2 heads of q [1,2,24] and -2 of k [1,2,24] must be whole numbers of 1 or more',
      heads(-2, -2),
    ],
    ['attention: 2 heads of q [1,2,24] and 0 of k [1,2,24] must be whole numbers of 1 or more', heads(2, 0)],
    ['layerNorm: epsilon NaN is not a number of 0 or more', () => layerNorm(z(2, 4), z(4), z(4), Number.NaN)],
    ['rmsNorm: epsilon -1 is not a number of 0 or more', () => rmsNorm(z(2, 4), z(4), -1)],
    [`dropout: stream 0.5 ${word}`, () => dropout(z(4), state(), 0.5, 0.5)],
    [`uniform: stream -1 ${word}`, () => uniform(state(), [4], -1)],
    [
      'dropout: the random state has shape [1], not [4]',
      () => dropout(z(4), { ...state(), state: zeros(device, [1], { dtype: 'u32' }) }, 0.5, 0),
    ],
    [`randomState: word of the key NaN ${word}`, () => randomState(device, [1, Number.NaN])],
    [`randomState: step 0.5 ${word}`, () => randomState(device, [1, 2], 0.5)],
    [`randomState: step 4294967296 ${word}`, () => state().setStep(2 ** 32)],
    ['ropeTable: scaling.factor 0 is not a number of 1 or more', () => scaled(0)],
    ['ropeTable: scaling.factor NaN is not a number of 1 or more', () => scaled(Number.NaN)],
    ['ropeTable: scaling.highFrequencyFactor 2 is not above lowFrequencyFactor 2', () => scaled(8, 2, 2)],
    ['learningRateAt: step -1 is not a number of 0 or more', rate(-1, {})],
    ['learningRateAt: steps NaN are not a number of 0 or more', rate(1, { steps: Number.NaN })],
    ['learningRateAt: warmup 2 is not a part, 0 to 1', rate(1, { warmup: 2 })],
    [
      'learningRateAt: schedule step is none of constant, linear, cosine and polynomial',
      rate(1, { schedule: any('step') }),
    ],
    [
      'linear: activation relu is neither gelu nor silu',
      () => linear(z(2, 4), z(3, 4), z(3), { activation: any('relu') }),
    ],
    ['cast: [2] to int8, which is neither f16 nor f32', () => cast(z(2), any('int8'))],
    ['iota: [4] of f16, which is neither f32 nor u32', () => iota(device, [4], any('f16'))],
    [
      'a tensor: the last axis of [33] is no multiple of the 32 of int4x32',
      () => zeros(device, [33], { dtype: 'int4x32' }),
    ],
    ['a tensor: [] has no rows that int8 could scale', () => zeros(device, [], { dtype: 'int8' })],
    ['a tensor: no tensor [3] holds i32', () => zeros(device, [3], { dtype: any('i32') })],
    ['packWeight: 3 values for shape [8]', () => packWeight(new Float32Array(3), [8], 'f16')],
    [
      'packWeight: the last axis of [33] is no multiple of the 32 of int4x32',
      () => packWeight(new Float32Array(33), [33], 'int4x32'),
    ],
    [
      'unpackWeight: 2 words for shape [8] of int8, not 3',
      () => unpackWeight(new Uint32Array(2), [8], 'int8'),
    ],
    ['reshape: [2,3] does not fit [6,-1,-1]', () => reshape(z(2, 3), [6, -1, -1])],
    // Broadcast, it would fit.
    [
      'mergeLora: B [1,2] times A [2,4] is [1,4], not weight [4,4]',
      () => mergeLora(z(4, 4), { down: z(2, 4), up: z(1, 2), scale: 1 }),
    ],
  ];
  test.each(cases)('%s', async (message, call) => {
    expect(call).toThrow(message);
    await device.idle();
  });
});

test('what is made of other operations is named itself where a tensor is disposed', () => {
  const gone = z(2, 2);
  gone.dispose();
  const used = (name: string) => new EngineError(`${name}: use of a disposed tensor of shape [2,2]`);
  expect(() => expand(gone, [2, 2])).toThrow(used('expand'));
  expect(() => mean(gone, 0)).toThrow(used('mean'));
  expect(() => total(gone)).toThrow(used('total'));
});

test('an optimiser of no parameters has nothing to clip', async () => {
  for (const Optimiser of [AdamW, SGD]) {
    const optimiser = new Optimiser(device, [], { clipNorm: 1 });
    optimiser.begin(0.1);
    optimiser.apply([]);
    optimiser.dispose();
  }
  await device.idle();
});

test('a device is not opened by options out of their range', async () => {
  const refused = (options: DeviceOptions, message: string) =>
    expect(Device.open(options)).rejects.toThrow(new EngineError(`Device.open: ${message}`));
  await refused({ adapterClass: any('cuda') }, 'adapterClass cuda is none of software, gpu, portable');
  await refused({ poolLimitBytes: -1 }, 'poolLimitBytes -1 is not a number of 0 or more');
  for (const bindingLimitBytes of [Number.NaN, 0, 255])
    await refused(
      { bindingLimitBytes },
      `bindingLimitBytes ${bindingLimitBytes} is not a number of 256 or more`,
    );
});
