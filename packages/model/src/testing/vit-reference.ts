// A ViT with LoRA in float64, one picture at a time, in plain loops over rows: the definition to test against. It shares
// nothing with vit.ts: weights go by their names in the file, adapters by the names PEFT gives them.

import type { VitConfig } from '../vit.ts';

/** Token by token, a vector each. */
export type Rows = number[][];
type Vector = ArrayLike<number>;
export type Named = ReadonlyMap<string, Vector>;

/** The values of any number of adapters, and the factor on their changes. */
export interface ReferenceAdapter {
  values: Named;
  scale: number;
  /** What an adapter sees of its input while it is trained. */
  dropout?: (x: Rows, layer: number, target: string) => Rows;
}

const PROJECTION = 'vit.embeddings.patch_embeddings.projection';

/** A picture [channels, height, width] as the class token and its patches, with their positions added. */
export function embedReference(config: VitConfig, weights: Named, picture: Vector): Rows {
  const { hidden_size: width, image_size: side, patch_size: patch, num_channels: channels } = config;
  const rows: Rows = [Array.from(weights.get('vit.embeddings.cls_token')!)];
  const kernel = weights.get(`${PROJECTION}.weight`)!;
  const bias = weights.get(`${PROJECTION}.bias`)!;
  for (let top = 0; top < side; top += patch)
    for (let left = 0; left < side; left += patch) {
      const row: number[] = [];
      for (let out = 0; out < width; out++) {
        let sum = bias[out]!;
        for (let c = 0; c < channels; c++)
          for (let y = 0; y < patch; y++)
            for (let x = 0; x < patch; x++) {
              const pixel = picture[(c * side + top + y) * side + left + x]!;
              sum += pixel * kernel[((out * channels + c) * patch + y) * patch + x]!;
            }
        row.push(sum);
      }
      rows.push(row);
    }
  const positions = weights.get('vit.embeddings.position_embeddings')!;
  return rows.map((row, token) => row.map((value, i) => value + positions[token * width + i]!));
}

/** One encoder layer, by its number. */
export function layerReference(
  config: VitConfig,
  weights: Named,
  number: number,
  x: Rows,
  adapter?: ReferenceAdapter,
): Rows {
  const layer = `vit.encoder.layer.${number}`;
  const { layer_norm_eps: epsilon, num_attention_heads: heads } = config;
  const dense = (input: Rows, name: string) =>
    linear(input, weights.get(`${layer}.${name}.weight`)!, weights.get(`${layer}.${name}.bias`)!);
  const project = (input: Rows, target: string) => {
    const base = dense(input, `attention.attention.${target}`);
    const name = `base_model.model.${layer}.attention.attention.${target}`;
    const [down, up] = ['A', 'B'].map((part) => adapter?.values.get(`${name}.lora_${part}.weight`));
    if (!adapter || !down || !up) return base;
    const seen = adapter.dropout ? adapter.dropout(input, number, target) : input;
    const change = linear(linear(seen, down), up);
    return base.map((row, i) => row.map((value, j) => value + adapter.scale * change[i]![j]!));
  };
  const norm = (input: Rows, name: string) =>
    layerNorm(input, weights.get(`${layer}.${name}.weight`)!, weights.get(`${layer}.${name}.bias`)!, epsilon);

  const before = norm(x, 'layernorm_before');
  const [q, k, v] = ['query', 'key', 'value'].map((target) => project(before, target)) as [Rows, Rows, Rows];
  const middle = sum(x, dense(attend(q, k, v, heads), 'attention.output.dense'));
  const inner = dense(norm(middle, 'layernorm_after'), 'intermediate.dense').map((row) => row.map(gelu));
  return sum(middle, dense(inner, 'output.dense'));
}

/** The logits of the class token, through a head by its names in PEFT. */
export function classifyReference(config: VitConfig, weights: Named, top: Rows, head: Named): number[] {
  const gain = weights.get('vit.layernorm.weight')!;
  const normed = layerNorm([top[0]!], gain, weights.get('vit.layernorm.bias')!, config.layer_norm_eps);
  const classifier = 'base_model.model.classifier';
  return linear(normed, head.get(`${classifier}.weight`)!, head.get(`${classifier}.bias`)!)[0]!;
}

/** The logits of what enters layer `from`. */
export function logitsReference(
  config: VitConfig,
  weights: Named,
  from: number,
  x: Rows,
  adapter: ReferenceAdapter,
): number[] {
  let rows = x;
  for (let layer = from; layer < config.num_hidden_layers; layer++)
    rows = layerReference(config, weights, layer, rows, adapter);
  return classifyReference(config, weights, rows, adapter.values);
}

/** -log softmax(logits)[label] */
export function lossReference(logits: readonly number[], label: number): number {
  const largest = Math.max(...logits);
  return Math.log(logits.reduce((total, z) => total + Math.exp(z - largest), 0)) + largest - logits[label]!;
}

/** Values in a row-major array, as rows. */
export function rowsOf(values: Vector, width: number): Rows {
  return Array.from({ length: values.length / width }, (_, row) =>
    Array.from({ length: width }, (_, i) => values[row * width + i]!),
  );
}

/** x weight^T + bias; the weight is [out, in]. */
function linear(x: Rows, weight: Vector, bias?: Vector): Rows {
  const width = x[0]!.length;
  return x.map((row) => {
    const y = new Array<number>(weight.length / width);
    for (let out = 0; out < y.length; out++) {
      let dot = bias ? bias[out]! : 0;
      for (let i = 0; i < width; i++) dot += row[i]! * weight[out * width + i]!;
      y[out] = dot;
    }
    return y;
  });
}

function sum(a: Rows, b: Rows): Rows {
  return a.map((row, i) => row.map((value, j) => value + b[i]![j]!));
}

function layerNorm(x: Rows, gain: Vector, bias: Vector, epsilon: number): Rows {
  return x.map((row) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length;
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
    return row.map((value, i) => ((value - mean) / Math.sqrt(variance + epsilon)) * gain[i]! + bias[i]!);
  });
}

/** softmax(q k^T / sqrt(head width)) v, head by head. */
function attend(q: Rows, k: Rows, v: Rows, heads: number): Rows {
  const width = q[0]!.length;
  const headWidth = width / heads;
  return q.map((query) => {
    const y = new Array<number>(width).fill(0);
    for (let head = 0; head < heads; head++) {
      const from = head * headWidth;
      const scores = k.map((key) => {
        let dot = 0;
        for (let i = from; i < from + headWidth; i++) dot += query[i]! * key[i]!;
        return Math.exp(dot / Math.sqrt(headWidth));
      });
      const total = scores.reduce((a, b) => a + b, 0);
      scores.forEach((score, token) => {
        for (let i = from; i < from + headWidth; i++) y[i]! += (score / total) * v[token]![i]!;
      });
    }
    return y;
  });
}

function gelu(x: number): number {
  return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/** erf(x) = 2 / sqrt(pi) exp(-x^2) sum over n of 2^n x^(2n + 1) / (1 3 5 ... (2n + 1)), Abramowitz and Stegun 7.1.6. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; Math.abs(term) > 1e-18; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    total += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}
