// A small Llama learns to write like docs/, letter by letter, and then goes on by itself: a captured training step, and a
// captured step of generation with a cache of keys and values.
import { globSync, readFileSync } from 'node:fs';
import {
  AdamW,
  attention,
  cachedAttention,
  cacheWrite,
  capture,
  crossEntropy,
  Device,
  embedding,
  gradients,
  learningRateAt,
  linear,
  reshape,
  rmsNorm,
  rope,
  ropeTable,
  swiglu,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';

const steps = Number(process.argv[2] ?? 600);
const [batch, tokens, capacity] = [8, 128, 128];
const [depth, width, hidden, heads] = [2, 64, 192, 4];

const files = globSync('docs/*.md').sort();
const text = files.map((file) => readFileSync(file, 'utf8')).join('\n');
const letters = [...new Set(text)].sort();
const codes = Uint32Array.from(text, (letter) => letters.indexOf(letter));

const device = await Device.open();
const parameters: Tensor[] = [];
function parameter(values: Float32Array<ArrayBuffer>, shape: number[]): Tensor {
  const made = tensor(device, values, shape, { trainable: true });
  parameters.push(made);
  return made;
}
/** Small random numbers, the same in every run. */
const matrix = (rows: number, columns: number): Tensor =>
  parameter(uniformValues(rows * columns, Math.sqrt(3 / columns), [1, 2], parameters.length), [
    rows,
    columns,
  ]);
const ones = (): Tensor => parameter(new Float32Array(width).fill(1), [width]);

const table = matrix(letters.length, width);
const blocks = Array.from({ length: depth }, () => ({
  ...{ before: ones(), query: matrix(width, width), key: matrix(width, width), value: matrix(width, width) },
  ...{
    output: matrix(width, width),
    between: ones(),
    gate: matrix(hidden, width),
    up: matrix(hidden, width),
  },
  down: matrix(width, hidden),
}));
const last = ones();
const head = matrix(letters.length, width);
const turns = ropeTable(device, { headWidth: width / heads, positions: capacity });

type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** What may come after each letter, as logits. @param x u32 [rows, letters] @param start of each row, if not 0 */
function logitsOf(x: Tensor, attend: Attend, start?: Tensor): Tensor {
  let state = embedding(table, x);
  for (const [layer, block] of blocks.entries()) {
    const input = rmsNorm(state, block.before, 1e-5);
    const [q, k] = [block.query, block.key].map((weight) => rope(linear(input, weight, null), turns, start));
    const seen = attend(layer, q!, k!, linear(input, block.value, null));
    state = linear(seen, block.output, null, { residual: state });
    const inner = rmsNorm(state, block.between, 1e-5);
    const grown = swiglu(linear(inner, block.gate, null), linear(inner, block.up, null));
    state = linear(grown, block.down, null, { residual: state });
  }
  return linear(rmsNorm(state, last, 1e-5), head, null);
}

const input = zeros(device, [batch, tokens], { dtype: 'u32' });
const next = zeros(device, [batch * tokens], { dtype: 'u32' });
const rowWeights = tensor(device, new Float32Array(batch * tokens).fill(1));
const optimiser = new AdamW(device, parameters, { weightDecay: 0.1, clipNorm: 1 });
const training = capture(device, () => {
  const logits = logitsOf(input, (_, q, k, v) => attention(q, k, v, heads, { causal: true }));
  const loss = crossEntropy(reshape(logits, [batch * tokens, letters.length]), next, rowWeights);
  optimiser.apply(gradients(loss, parameters));
  return { loss };
});
for (let step = 0; step <= steps; step++) {
  const starts = uniformValues(batch, 0.5, [3, 4], step).map((at) =>
    Math.floor((at + 0.5) * (codes.length - tokens)),
  );
  const rows = (shift: number) =>
    [...starts].flatMap((at) => [...codes.subarray(at + shift, at + shift + tokens)]);
  input.write(Uint32Array.from(rows(0)));
  next.write(Uint32Array.from(rows(1)));
  optimiser.begin(learningRateAt(step, { schedule: 'cosine', learningRate: 1e-2, steps, warmup: 0.05 }));
  training.replay();
  if (step % 50 === 0 || step === steps)
    console.log(`step ${step}: loss ${(await training.outputs.loss.item()).toFixed(3)}`);
}

const letter = zeros(device, [1, 1], { dtype: 'u32' });
const start = zeros(device, [1], { dtype: 'u32' });
const caches = blocks.map(() => ({
  keys: zeros(device, [1, capacity, width]),
  values: zeros(device, [1, capacity, width]),
}));
const writing = capture(device, () => ({
  logits: logitsOf(
    letter,
    (layer, q, k, v) => {
      const cache = caches[layer]!;
      cacheWrite(cache.keys, k, start);
      cacheWrite(cache.values, v, start);
      return cachedAttention(q, cache, start, heads);
    },
    start,
  ),
}));
/** The position of one of some weights, drawn in proportion to them. */
function drawn(weights: Float32Array): number {
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  const found = weights.findIndex((weight) => {
    left -= weight;
    return left < 0;
  });
  return found < 0 ? weights.length - 1 : found; // what rounding left over
}
let written = 'An erasure ';
for (let at = 0; at < capacity - 1; at++) {
  letter.write(Uint32Array.of(letters.indexOf(written[at]!)));
  start.write(Uint32Array.of(at));
  writing.replay();
  if (at + 1 < written.length) continue; // the cache must know the whole beginning
  written += letters[drawn((await writing.outputs.logits.read()).map((logit) => Math.exp(logit / 0.7)))];
}
console.log(written);
device.close();
