import {
  AdamW,
  add,
  attention,
  cast,
  crossEntropy,
  type Device,
  dropout,
  gelu,
  gradients,
  layerNorm,
  linear,
  loraLinear,
  mean,
  philox,
  randomState,
  type Shape,
  scope,
  sizeOf,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';

const [BATCH, TOKENS, HIDDEN, HEADS, RANK, CLASSES] = [2, 5, 16, 2, 4, 3];

/** What a training test needs: the parameters, what is uploaded per step, and the step itself. */
export interface TrainingBlock {
  parameters: Tensor[];
  optimiser: AdamW;
  inputs: { x: Tensor; labels: Tensor; weights: Tensor };
  /** Uploads the batch, the random step and the optimiser's numbers of a step. */
  prepare(step: number): void;
  /** Forward, backward, update. Run it eagerly in a scope, or capture it. */
  step(): { loss: Tensor; logits: Tensor };
  logits(): Tensor;
  dispose(): void;
}

/**
 * One transformer block that has a bit of everything: LayerNorm, a LoRA linear layer behind dropout, attention, a dense layer
 * with a trained weight, a head of three classes, AdamW with clipping. All tests share its shapes, and so its kernels.
 * @param stored what activations are stored as
 */
export function trainingBlock(device: Device, stored: 'f32' | 'f16' = 'f32'): TrainingBlock {
  let stream = 0;
  const values = (shape: Shape, bound: number) => uniformValues(sizeOf(shape), bound, [5, 7], stream++);
  const frozen = (...shape: number[]) => tensor(device, values(shape, 0.4), shape, { constant: true });
  const trained = (bound: number, ...shape: number[]) =>
    tensor(device, values(shape, bound), shape, { trainable: true });

  const base = {
    norm: [frozen(HIDDEN), frozen(HIDDEN)] as const,
    query: [frozen(HIDDEN, HIDDEN), frozen(HIDDEN)] as const,
    key: [frozen(HIDDEN, HIDDEN), frozen(HIDDEN)] as const,
    value: [frozen(HIDDEN, HIDDEN), frozen(HIDDEN)] as const,
  };
  const lora = { down: trained(0.25, RANK, HIDDEN), up: trained(0.1, HIDDEN, RANK) };
  const norm = [trained(1, HIDDEN), trained(0.1, HIDDEN)] as const;
  const dense = [trained(0.4, HIDDEN, HIDDEN), trained(0.1, HIDDEN)] as const;
  const head = [trained(0.3, CLASSES, HIDDEN), trained(0.1, CLASSES)] as const;
  const parameters = [lora.down, lora.up, ...norm, ...dense, ...head];
  const optimiser = new AdamW(device, parameters, { weightDecay: 0.05, clipNorm: 0.4 });
  const random = randomState(device, [11, 13]);
  const inputs = {
    x: zeros(device, [BATCH, TOKENS, HIDDEN]),
    labels: zeros(device, [BATCH], { dtype: 'u32' }),
    weights: zeros(device, [BATCH]),
  };

  const logits = () => {
    const x = cast(inputs.x, stored);
    const h = layerNorm(x, ...base.norm, 1e-6);
    const adapted = dropout(h, random, 0.25, 3);
    const q = loraLinear(h, ...base.query, { ...lora, scale: 2, adapted });
    const attended = attention(q, linear(h, ...base.key), linear(h, ...base.value), HEADS);
    const y = layerNorm(add(x, attended), ...norm, 1e-6);
    return linear(mean(gelu(linear(y, ...dense)), 1), ...head);
  };
  return {
    parameters,
    optimiser,
    inputs,
    logits,
    prepare: (step) => {
      inputs.x.write(uniformValues(inputs.x.size, 1.5, [17, step], 0));
      inputs.labels.write(
        Uint32Array.from({ length: BATCH }, (_, i) => philox([i, step, 0, 2], [1, 2])[0] % CLASSES),
      );
      inputs.weights.write(Float32Array.of(1, step % 4 === 3 ? 0 : 1));
      random.setStep(step);
      optimiser.begin(0.02 / (1 + step));
    },
    step: () => {
      const out = logits();
      const loss = crossEntropy(out, inputs.labels, inputs.weights);
      optimiser.apply(gradients(loss, parameters));
      return { loss, logits: out };
    },
    dispose: () => {
      optimiser.dispose();
      const tensors = [...Object.values(base).flat(), ...parameters, ...Object.values(inputs), random.state];
      for (const each of tensors) each.dispose();
    },
  };
}

/** The exact bits of values, to compare and to print. */
export function bitsOf(values: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The exact bits of tensors, in their order. */
export async function bitsOfAll(tensors: readonly Tensor[]): Promise<string[]> {
  const bits: string[] = [];
  for (const each of tensors)
    bits.push(bitsOf(each.dtype === 'u32' ? await each.readUint32() : await each.read()));
  return bits;
}

/** Trains a fresh block eagerly; returns the losses' and the parameters' bits. */
export async function trainedBits(
  device: Device,
  steps: number,
  stored: 'f32' | 'f16' = 'f32',
): Promise<string[]> {
  const block = trainingBlock(device, stored);
  const bits: string[] = [];
  for (let at = 0; at < steps; at++) {
    block.prepare(at);
    const { loss, logits } = scope(() => block.step());
    bits.push(bitsOf(await loss.read()));
    loss.dispose();
    logits.dispose();
  }
  bits.push(...(await bitsOfAll(block.parameters)));
  block.dispose();
  return bits;
}
