import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  capture,
  crossEntropy,
  Device,
  gradients,
  operations,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  uniformValues,
  vocabularyCrossEntropy,
} from '../index.ts';
import { bitsOf, bitsOfAll } from '../testing/block.ts';

const [ROWS, WIDTH, CLASSES] = [5, 8, 20_001];

let device: Device;
let hidden: Tensor;
let weight: Tensor;
const hiddenValues = uniformValues(ROWS * WIDTH, 2, [1, 7], 0);
const weightValues = uniformValues(CLASSES * WIDTH, 2, [2, 7], 0);
const labels = Uint32Array.of(0, 8191, 8192, 20_000, 12_345);
beforeAll(async () => {
  device = await Device.open();
  hidden = tensor(device, hiddenValues, [ROWS, WIDTH], { trainable: true });
  weight = tensor(device, weightValues, [CLASSES, WIDTH], { trainable: true });
});
afterAll(() => device.close());

/** The loss and its gradients. */
function step(loss: Tensor, of: Tensor[]): Tensor[] {
  return [loss, ...gradients(loss, of)];
}

test('three chunks of a vocabulary give the loss and the gradients that float64 gives', async () => {
  const weightOf = [1, 0.5, 2, 1, 0.25];
  const [weights, words] = [tensor(device, weightOf), tensor(device, labels)];
  const results = scope(() => step(vocabularyCrossEntropy(hidden, weight, words, weights), [hidden, weight]));
  const whole = weightOf.reduce((a, b) => a + b);
  const loss = Float64Array.of(0);
  const dHidden = new Float64Array(ROWS * WIDTH);
  const dWeight = new Float64Array(CLASSES * WIDTH);
  labels.forEach((label, row) => {
    const logits = Float64Array.from({ length: CLASSES }, (_, c) => {
      let dot = 0;
      for (let i = 0; i < WIDTH; i++) dot += hiddenValues[row * WIDTH + i]! * weightValues[c * WIDTH + i]!;
      return dot;
    });
    const logSum = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0));
    const share = weightOf[row]! / whole;
    loss[0]! += share * (logSum - logits[label]!);
    logits.forEach((value, c) => {
      const slope = share * (Math.exp(value - logSum) - (c === label ? 1 : 0));
      for (let i = 0; i < WIDTH; i++) {
        dHidden[row * WIDTH + i]! += slope * weightValues[c * WIDTH + i]!;
        dWeight[c * WIDTH + i]! += slope * hiddenValues[row * WIDTH + i]!;
      }
    });
  });
  for (const [i, wanted] of [loss, dHidden, dWeight].entries()) {
    const found = await results[i]!.read();
    const scale = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const worst = found.reduce((most, value, at) => Math.max(most, Math.abs(value - wanted[at]!)), 0);
    expect(worst / scale, `result ${i}`).toBeLessThan(2e-6);
  }
  for (const each of [...results, weights, words]) each.dispose();
});

test('a row has the bits it has alone, next to rows of weight 0 whose labels are no class', async () => {
  const at = 2;
  const weights = tensor(device, [0, 0, 1, 0, 0]);
  const words = tensor(device, Uint32Array.of(0xffffffff, CLASSES, labels[at]!, 0xffffff9c, 3));
  const own = tensor(device, hiddenValues.slice(at * WIDTH, (at + 1) * WIDTH), [1, WIDTH], {
    trainable: true,
  });
  const [one, word] = [tensor(device, [1]), tensor(device, labels.slice(at, at + 1))];
  const [together, alone] = scope(() => [
    step(vocabularyCrossEntropy(hidden, weight, words, weights), [hidden]),
    step(vocabularyCrossEntropy(own, weight, word, one), [own]),
  ]);
  const gradient = await together![1]!.read();
  expect(bitsOf(await together![0]!.read())).toBe(bitsOf(await alone![0]!.read()));
  expect(bitsOf(gradient.slice(at * WIDTH, (at + 1) * WIDTH))).toBe(bitsOf(await alone![1]!.read()));
  expect(gradient.filter((value) => value !== 0).length).toBe(WIDTH);
  for (const each of [...together!, ...alone!, weights, words, own, one, word]) each.dispose();
});

test('a label past the end counts as the last class, as the documentation says', async () => {
  const values = uniformValues(6, 1, [3, 7], 0);
  const results = (label: number) =>
    scope(() => {
      const x = tensor(device, values, [1, 6], { trainable: true });
      const head = tensor(device, values, [6, 1]);
      const row = tensor(device, [2], [1, 1], { trainable: true });
      const [word, one] = [tensor(device, Uint32Array.of(label)), tensor(device, [1])];
      return [
        ...step(crossEntropy(x, word, one), [x]),
        ...step(vocabularyCrossEntropy(row, head, word, one, 4), [row]),
      ];
    });
  const last = await bitsOfAll(results(5));
  for (const label of [6, 0xffffffff]) expect(await bitsOfAll(results(label))).toEqual(last);
  expect(await bitsOfAll(results(4))).not.toEqual(last);
});

test('a captured step holds the logits of one chunk, and has the bits of the eager one', async () => {
  const weights = tensor(device, new Float32Array(ROWS).fill(1));
  const words = tensor(device, labels);
  const frozen = weight.detach();
  const run = () => step(vocabularyCrossEntropy(hidden, frozen, words, weights), [hidden]);
  const captured = capture(device, run);
  const [logits, part] = [ROWS * 8192 * 4, WIDTH * 8192 * 4];
  expect(captured.arenaBytes).toBeLessThan(1.2 * (logits + part));
  captured.replay();
  const eager = scope(run);
  expect(await bitsOfAll(captured.outputs)).toEqual(await bitsOfAll(eager));
  for (const each of [captured, ...eager, frozen, weights, words]) each.dispose();
});

test('crossEntropy takes 50,257 classes, and more rows than a row of workgroups', async () => {
  const { declaration } = operations.get('crossEntropy')!;
  for (const [rows, classes] of [
    [2, 50_257],
    [524_290, 2],
  ] as const) {
    const values = uniformValues(rows * classes, 2, [3, 7], 0);
    // The last row alone counts.
    const weightValues = new Float32Array(rows).fill(1, rows - 1);
    const labelValues = new Uint32Array(rows).fill(classes - 1);
    const array = (data: ArrayLike<number>, shape: number[]) => ({ data: Float64Array.from(data), shape });
    const [expected] = declaration.reference(
      [array(values, [rows, classes]), array(labelValues, [rows]), array(weightValues, [rows])],
      undefined,
    );
    const tensors = [
      tensor(device, values, [rows, classes], { trainable: true }),
      tensor(device, labelValues),
      tensor(device, weightValues),
    ] as const;
    const [loss, gradient] = scope(() => step(crossEntropy(...tensors), [tensors[0]]));
    expect(Math.abs((await loss!.item()) / expected! - 1)).toBeLessThan(1e-5);
    const last = (await gradient!.read()).slice(-classes);
    expect(Math.abs(last[classes - 1]! - (Math.exp(-expected!) - 1))).toBeLessThan(1e-5);
    expect(Math.abs(last.reduce((sum, value) => sum + value, 0))).toBeLessThan(1e-4);
    for (const each of [loss!, gradient!, ...tensors]) each.dispose();
  }
});

test('what does not fit is named', () => {
  const [words, weights] = [tensor(device, labels), tensor(device, new Float32Array(ROWS))];
  const wide = tensor(device, new Float32Array(20), [2, 10]);
  expect(() => vocabularyCrossEntropy(hidden, wide, words, weights)).toThrow(
    new ShapeError('vocabularyCrossEntropy: hidden [5,8] and weight [2,10] differ in axis 1'),
  );
  expect(() => vocabularyCrossEntropy(hidden, weight, words, tensor(device, [1, 2]))).toThrow(
    new ShapeError('vocabularyCrossEntropy: [2] does not fit the rows, axis 0, of hidden [5,8]'),
  );
  expect(() => vocabularyCrossEntropy(hidden, weight, words, weights, 10)).toThrow(
    new ShapeError('vocabularyCrossEntropy: chunk 10 is not a multiple of four'),
  );
  wide.dispose();
});
