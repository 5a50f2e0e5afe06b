import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  affine,
  capture,
  crossEntropy,
  Device,
  GradientAccumulator,
  gradients,
  linear,
  SGD,
  type SGDOptions,
  scope,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from './index.ts';
import { bitsOfAll } from './testing/block.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open();
});
afterAll(() => device.close());

const SIZE = 21;
const STEPS = 6;
const start = () => uniformValues(SIZE, 1, [1, 2], 0);
const gradientAt = (step: number) => uniformValues(SIZE, 1, [3, step], 0);

/** PyTorch's `SGD` in float64. */
function reference({ momentum = 0, nesterov, weightDecay = 0, clipNorm }: SGDOptions): number[] {
  const p = [...start()];
  const v = p.map(() => 0);
  for (let step = 0; step < STEPS; step++) {
    const raw = gradientAt(step);
    const norm = Math.sqrt(raw.reduce((sum, g) => sum + g * g, 0));
    const clip = clipNorm === undefined ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
    raw.forEach((value, i) => {
      const g = value * clip + weightDecay * p[i]!;
      v[i] = momentum * v[i]! + g;
      p[i]! -= (0.1 / (1 + step)) * (nesterov ? g + momentum * v[i]! : v[i]!);
    });
  }
  return p;
}

const CASES: SGDOptions[] = [
  {},
  { momentum: 0.9 },
  { momentum: 0.9, nesterov: true },
  { momentum: 0.5, weightDecay: 0.1 },
  { momentum: 0.9, clipNorm: 0.7 },
];

test.each(CASES.map((options) => [JSON.stringify(options), options] as const))(
  'SGD against float64: %s',
  async (_title, options) => {
    const parameter = tensor(device, start(), [SIZE], { trainable: true });
    const optimiser = new SGD(device, [parameter], options);
    for (let step = 0; step < STEPS; step++) {
      optimiser.begin(0.1 / (1 + step));
      scope(() => optimiser.apply([tensor(device, gradientAt(step))]));
    }
    const expected = reference(options);
    const worst = Math.max(...(await parameter.read()).map((value, i) => Math.abs(value - expected[i]!)));
    expect(worst).toBeLessThan(1e-6);
    // Each case has an outcome of its own.
    for (const other of CASES.filter((each) => each !== options))
      expect(Math.max(...reference(other).map((value, i) => Math.abs(value - expected[i]!)))).toBeGreaterThan(
        1e-3,
      );
    optimiser.dispose();
    parameter.dispose();
  },
);

test('Nesterov without momentum is refused', () => {
  expect(() => new SGD(device, [], { nesterov: true })).toThrow('SGD: nesterov needs a momentum above 0');
});

const [ROWS, WIDTH, CLASSES] = [8, 5, 3];

/** Trains a linear layer for three steps, each batch cut into `cuts` captured micro-batches; the parameters. */
async function trained(cuts: number, captured: boolean): Promise<Tensor[]> {
  const parameters = [
    tensor(device, uniformValues(CLASSES * WIDTH, 0.5, [1, 1], 0), [CLASSES, WIDTH], { trainable: true }),
    zeros(device, [CLASSES], { trainable: true }),
  ] as const;
  const rows = ROWS / cuts;
  const x = zeros(device, [rows, WIDTH]);
  const labels = zeros(device, [rows], { dtype: 'u32' });
  const weights = tensor(device, new Float32Array(rows).fill(1));
  const optimiser = new SGD(device, parameters, { momentum: 0.9, clipNorm: 1 });
  const sums = new GradientAccumulator(device, parameters);
  const addUp = () => {
    const loss = crossEntropy(linear(x, ...parameters), labels, weights);
    sums.add(gradients(affine(loss, 1 / cuts), parameters));
  };
  const update = () => {
    optimiser.apply(sums.gradients);
    sums.clear();
  };
  const steps = captured ? [capture(device, addUp), capture(device, update)] : [];
  for (let step = 0; step < 3; step++) {
    const values = uniformValues(ROWS * WIDTH, 1, [5, step], 0);
    for (let cut = 0; cut < cuts; cut++) {
      x.write(values.slice(cut * rows * WIDTH, (cut + 1) * rows * WIDTH));
      labels.write(Uint32Array.from({ length: rows }, (_, i) => (cut * rows + i) % CLASSES));
      if (captured) steps[0]!.replay();
      else scope(addUp);
    }
    optimiser.begin(0.3);
    if (captured) steps[1]!.replay();
    else scope(update);
  }
  await device.idle();
  for (const each of [...steps, optimiser, sums, x, labels, weights]) each.dispose();
  return [...parameters];
}

test('two halves accumulated train as the whole batch does; twice, eager or captured, to the same bits', async () => {
  const halves = await trained(2, true);
  const bits = await bitsOfAll(halves);
  expect(await bitsOfAll(await trained(2, true))).toEqual(bits);
  expect(await bitsOfAll(await trained(2, false))).toEqual(bits);
  const whole = await trained(1, true);
  for (const [index, half] of halves.entries()) {
    const expected = await whole[index]!.read();
    const differences = (await half.read()).map((value, i) => Math.abs(value - expected[i]!));
    expect(Math.max(...differences)).toBeLessThan(1e-6);
  }
});
