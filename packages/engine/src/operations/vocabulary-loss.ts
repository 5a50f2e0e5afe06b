import { NUMBERS } from '../data-type.ts';
import { ShapeError } from '../errors.ts';
import { gridOf, operation } from '../operation.ts';
import { launchProduct } from '../product.ts';
import { scope } from '../scope.ts';
import { empty, type Tensor } from '../tensor.ts';
import { weightedMean } from './loss.ts';

/** Classes whose logits exist at once. Fixes the order of the sums in the gradient of `hidden`. */
const CHUNK = 8192;
/** Classes that one invocation walks: 4 * PART4 of the kernel. Fixes the order of the sums in the loss. */
const PART = 128;

interface Chunked {
  chunk: number;
}

/** Some classes of the head, and their logits in rows of `width`: the classes, padded to whole fours. */
interface Chunk {
  first: number;
  classes: number;
  width: number;
  /** [width, d]: their rows of the weight, then zeros. */
  weight: Tensor;
  /** [rows, width] */
  logits: Tensor;
}

/** Computes the logits of one chunk of classes after the other, and gives each to `use`; none outlives its turn. */
function overChunks(hidden: Tensor, weight: Tensor, chunk: number, use: (chunk: Chunk) => void): void {
  const [rows, d] = hidden.shape as [number, number];
  const vocabulary = weight.shape[0]!;
  for (let first = 0; first < vocabulary; first += chunk)
    scope(() => {
      const classes = Math.min(chunk, vocabulary - first);
      const width = 4 * Math.ceil(classes / 4);
      const part = rowsOf(weight, first, classes, width);
      const logits = empty(hidden.device, [rows, width]);
      const product = { batch: 1, m: rows, n: width, k: d, transposeA: false, transposeB: true };
      launchProduct(product, hidden, part, logits);
      use({ first, classes, width, weight: part, logits });
    });
}

/** `count` rows of a matrix from `first` on, then zeros, `height` rows in all. */
function rowsOf(matrix: Tensor, first: number, count: number, height: number): Tensor {
  const [all, d] = matrix.shape as [number, number];
  if (height === all) return matrix;
  const { device } = matrix;
  const part = empty(device, [height, d]);
  if (height > count) device.run({ kind: 'clear', target: part.storage });
  const [source, target] = [matrix.storage, part.storage];
  const sourceOffset = first * d * 4;
  device.run({ kind: 'copy', source, sourceOffset, target, targetOffset: 0, bytes: count * d * 4 });
  return part;
}

const applyVocabularyCrossEntropy = operation<Chunked>({
  name: 'vocabularyCrossEntropy',
  summary: 'crossEntropy(hidden weight^T, labels, weights) by chunks of the classes, without the logits',
  dtypes: [NUMBERS, 'f32', 'u32', 'f32'],
  result: 'f32',
  shape: ([hidden, weight, labels, weights], { chunk }) => {
    if (hidden!.length !== 2 || weight!.length !== 2)
      throw new ShapeError(
        `vocabularyCrossEntropy: hidden [${hidden}] and weight [${weight}] must be [rows, d] and [classes, d]`,
      );
    if (hidden![1] !== weight![1])
      throw new ShapeError(
        `vocabularyCrossEntropy: hidden [${hidden}] and weight [${weight}] differ in axis 1`,
      );
    for (const shape of [labels!, weights!])
      if (shape.join() !== `${hidden![0]}`)
        throw new ShapeError(
          `vocabularyCrossEntropy: [${shape}] does not fit the rows, axis 0, of hidden [${hidden}]`,
        );
    if (!Number.isInteger(chunk) || chunk < 4 || chunk % 4 !== 0)
      throw new ShapeError(`vocabularyCrossEntropy: chunk ${chunk} is not a multiple of four`);
    return [1];
  },
  forward: ({ inputs: [hidden, weight, labels, weights], attributes: { chunk }, output }) => {
    const { device } = output;
    const rows = hidden!.shape[0]!;
    const vocabulary = weight!.shape[0]!;
    const partsBefore = (classes: number) =>
      Math.floor(classes / chunk) * Math.ceil(chunk / PART) + Math.ceil((classes % chunk) / PART);
    const parts = empty(device, [rows, partsBefore(vocabulary), 2]);
    const chosen = empty(device, [rows]);
    overChunks(hidden!, weight!, chunk, ({ first, classes, width, logits }) => {
      device.dispatch('loss/vocabulary_parts', {
        bindings: [logits, labels!, parts, chosen].map((tensor) => tensor.storage),
        params: Uint32Array.of(
          rows,
          width / 4,
          classes,
          first,
          vocabulary,
          partsBefore(first),
          parts.shape[1]!,
        ),
        writes: [2, 3],
        workgroups: gridOf(rows * Math.ceil(width / PART)),
      });
    });
    const logSums = empty(device, [rows]);
    const losses = empty(device, [rows]);
    device.dispatch('loss/vocabulary_rows', {
      bindings: [parts, chosen, weights!, logSums, losses].map((tensor) => tensor.storage),
      params: Uint32Array.of(rows, parts.shape[1]!, 0, 0),
      writes: [3, 4],
      workgroups: gridOf(rows, 8),
    });
    return [logSums, weightedMean(losses, weights!, output)];
  },
  gradient: ({
    inputs: [hidden, weight, labels, weights],
    attributes: { chunk },
    saved: [logSums, totalWeight],
    gradient,
    wanted,
  }) => {
    const { device } = hidden!;
    const [rows, d] = hidden!.shape as [number, number];
    const vocabulary = weight!.shape[0]!;
    const dHidden = wanted[0] ? empty(device, hidden!.shape) : null;
    const dWeight = wanted[1] ? empty(device, weight!.shape) : null;
    overChunks(hidden!, weight!, chunk, ({ first, classes, width, weight: part, logits }) => {
      device.dispatch('loss/vocabulary_backward', {
        bindings: [logits, labels!, weights!, totalWeight!, gradient, logSums!].map(
          (tensor) => tensor.storage,
        ),
        params: Uint32Array.of((rows * width) / 4, width / 4, classes, first, vocabulary),
        writes: [0],
        workgroups: gridOf((rows * width) / 4),
      });
      const plain = { batch: 1, n: d, transposeB: false };
      if (dHidden)
        launchProduct({ ...plain, m: rows, k: width, transposeA: false }, logits, part, dHidden, 1, {
          accumulate: first > 0,
        });
      if (!dWeight) return;
      const dPart = empty(device, [width, d]);
      launchProduct({ ...plain, m: width, k: rows, transposeA: true }, logits, hidden!, dPart);
      device.run({
        kind: 'copy',
        source: dPart.storage,
        sourceOffset: 0,
        target: dWeight.storage,
        targetOffset: first * d * 4,
        bytes: classes * d * 4,
      });
    });
    return [dHidden, dWeight, null, null];
  },
  reference: ([hidden, weight, labels, weights]) => {
    const [rows, d] = hidden!.shape as [number, number];
    let loss = 0;
    for (let r = 0; r < rows; r++) {
      const row = hidden!.data.subarray(r * d, (r + 1) * d);
      const logits = Array.from({ length: weight!.shape[0]! }, (_, c) =>
        row.reduce((dot, value, i) => dot + value * weight!.data[c * d + i]!, 0),
      );
      const largest = Math.max(...logits);
      const total = logits.reduce((a, value) => a + Math.exp(value - largest), 0);
      loss += weights!.data[r]! * (Math.log(total) + largest - logits[labels!.data[r]!]!);
    }
    return Float64Array.of(loss / weights!.data.reduce((a, b) => a + b, 0));
  },
  frozen: [3],
  cases: [
    {
      inputs: [[5, 8], [21, 8], { shape: [5], below: 21 }, { shape: [5], positive: true }],
      attributes: { chunk: 8 },
    },
    {
      inputs: [[3, 6], [140, 6], { shape: [3], below: 140 }, { shape: [3], positive: true }],
      attributes: { chunk: 132 },
    },
    {
      inputs: [[1, 4], [1, 4], { shape: [1], below: 1 }, { shape: [1], positive: true }],
      attributes: { chunk: CHUNK },
    },
  ],
});

/**
 * The cross-entropy of a language model's head over a large vocabulary: `crossEntropy` of the logits hidden weight^T, of which
 * only those of `chunk` classes exist at once, in the backward pass too. A row of weight 0 is left out, whatever its label is.
 * @param hidden [rows, d] @param weight [classes, d], frozen or trainable @param labels u32 [rows], each below `classes`: nothing checks
 *   them on the device, and one past the end counts as the last class @param weights [rows]
 * @param chunk a multiple of four; another one changes the last bits of the gradient. Default 8,192: rows * 32 KiB of logits
 *   exist at once
 * @returns shape [1]
 * @throws ShapeError when they do not fit
 */
export function vocabularyCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  weights: Tensor,
  chunk: number = CHUNK,
): Tensor {
  return applyVocabularyCrossEntropy([hidden, weight, labels, weights], { chunk });
}
