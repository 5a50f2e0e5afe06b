// Trains all weights of a small ViT from scratch on the engine: what the bases under assets/ come from.

import {
  AdamW,
  capture,
  crossEntropy,
  type Device,
  gradients,
  learningRateAt,
  philox,
  type Tensor,
  tensor,
  uniformValues,
  zeros,
} from '@s3t/engine';
import {
  arrangeVit,
  classify,
  embed,
  encoderLayer,
  type VitConfig,
  type VitWeights,
  vitParameters,
} from '@s3t/model';

export interface PretrainOptions {
  epochs: number;
  batchSize: number;
  learningRate: number;
  weightDecay: number;
  warmup: number;
  seed: number;
}

export interface Examples {
  /** Pictures of `config.image_size` squared grey pixels, one after the other. */
  images: Uint8Array;
  labels: Uint8Array;
  classes: readonly string[];
}

/** Pixels are normalised to (x / 255 - 0.5) / 0.5: what preprocessor_config.json says. */
export const PIXEL_MEAN = 0.5;
export const PIXEL_DEVIATION = 0.5;

type Parameters = Map<string, { shape: readonly number[]; values: Float32Array<ArrayBuffer> }>;

/** Truncated to three bounds is not worth it here: uniform with standard deviation 0.02 where ViT draws a normal. */
function startValues(config: VitConfig, classes: number, seed: number): Parameters {
  const named = [
    ...vitParameters(config),
    { name: 'classifier.weight', shape: [classes, config.hidden_size] },
    { name: 'classifier.bias', shape: [classes] },
  ];
  const parameters: Parameters = new Map();
  named.forEach(({ name, shape }, stream) => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const isNorm = /norm[a-z_]*\.weight$/.test(name);
    const fanIn = shape.length > 1 ? size / shape[0]! : 1;
    // Matrices keep the variance of what passes through them; embeddings start small.
    const deviation =
      name.startsWith('embeddings.') && !name.includes('projection') ? 0.02 : 1 / Math.sqrt(fanIn);
    const values = isNorm
      ? new Float32Array(size).fill(1)
      : name.endsWith('.bias')
        ? new Float32Array(size)
        : uniformValues(size, deviation * Math.sqrt(3), [seed, 0], stream);
    parameters.set(name, { shape, values });
  });
  return parameters;
}

/** A shuffled order of 0..count-1 for an epoch (Fisher and Yates, by Philox). */
function shuffled(indices: ArrayLike<number>, epoch: number, seed: number): Uint32Array {
  const order = Uint32Array.from(indices);
  for (let i = order.length - 1; i > 0; i--) {
    const j = philox([i, epoch, 0, 2], [seed, 0])[0] % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

interface Network {
  parameters: Map<string, Tensor>;
  logits: (pictures: Tensor) => Tensor;
}

function network(device: Device, config: VitConfig, start: Parameters): Network {
  const parameters = new Map<string, Tensor>();
  for (const [name, { shape, values }] of start)
    parameters.set(name, tensor(device, values, shape, { trainable: true }));
  const weights: VitWeights = arrangeVit(config, (name) => parameters.get(name)!);
  const head = { weight: parameters.get('classifier.weight')!, bias: parameters.get('classifier.bias')! };
  return {
    parameters,
    logits: (pictures) => {
      let x = embed(config, weights, pictures);
      weights.layers.forEach((layer, i) => {
        x = encoderLayer(config, layer, x, { onlyClassToken: i === weights.layers.length - 1 });
      });
      return classify(config, weights, x, head);
    },
  };
}

/** Trains and returns all values by name, the classifier included. */
export async function pretrain(
  device: Device,
  config: VitConfig,
  examples: Examples,
  sides: { train: Uint32Array; heldOut: Uint32Array },
  options: PretrainOptions,
  onProgress: (progress: { step: number; steps: number; loss: number; accuracy: number | null }) => void,
): Promise<Parameters> {
  const { batchSize } = options;
  const pixelCount = config.image_size ** 2;
  const start = startValues(config, examples.classes.length, options.seed);
  const { parameters, logits } = network(device, config, start);
  const trained = [...parameters.values()];
  const optimiser = new AdamW(device, trained, { weightDecay: options.weightDecay, clipNorm: 1 });
  const input = zeros(device, [batchSize, 1, config.image_size, config.image_size]);
  const labels = zeros(device, [batchSize], { dtype: 'u32' });
  const ones = tensor(device, new Float32Array(batchSize).fill(1));
  const step = capture(device, () => {
    const loss = crossEntropy(logits(input), labels, ones);
    optimiser.apply(gradients(loss, trained));
    return { loss };
  });
  const judge = capture(device, () => logits(input));
  const load = (records: ArrayLike<number>) => {
    const pixels = new Float32Array(batchSize * pixelCount);
    for (let row = 0; row < records.length; row++)
      for (let i = 0; i < pixelCount; i++)
        pixels[row * pixelCount + i] =
          (examples.images[records[row]! * pixelCount + i]! / 255 - PIXEL_MEAN) / PIXEL_DEVIATION;
    input.write(pixels);
  };
  const stepsAnEpoch = Math.floor(sides.train.length / batchSize);
  const steps = options.epochs * stepsAnEpoch;
  for (let epoch = 0; epoch < options.epochs; epoch++) {
    const order = shuffled(sides.train, epoch, options.seed);
    for (let i = 0; i < stepsAnEpoch; i++) {
      const records = order.subarray(i * batchSize, (i + 1) * batchSize);
      load(records);
      labels.write(Uint32Array.from(records, (record) => examples.labels[record]!));
      const at = epoch * stepsAnEpoch + i;
      optimiser.begin(learningRateAt(at, { ...options, schedule: 'cosine', steps }));
      step.replay();
      const isLast = i === stepsAnEpoch - 1;
      if (at % 50 !== 49 && !isLast) {
        await device.idle();
        continue;
      }
      const loss = await step.outputs.loss.item();
      onProgress({ step: at + 1, steps, loss, accuracy: isLast ? await accuracy() : null });
    }
  }
  const values: Parameters = new Map();
  for (const [name, parameter] of parameters)
    values.set(name, { shape: [...parameter.shape], values: await parameter.read() });
  return values;

  async function accuracy(): Promise<number> {
    let right = 0;
    for (let from = 0; from < sides.heldOut.length; from += batchSize) {
      const records = sides.heldOut.subarray(from, from + batchSize);
      load(records);
      judge.replay();
      const scores = await judge.outputs.read();
      const classes = examples.classes.length;
      records.forEach((record, row) => {
        const own = scores.subarray(row * classes, (row + 1) * classes);
        if (own.indexOf(Math.max(...own)) === examples.labels[record]) right++;
      });
    }
    return right / sides.heldOut.length;
  }
}
