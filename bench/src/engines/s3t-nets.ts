import {
  AdamW,
  add,
  attention,
  crossEntropy,
  type Device,
  gelu,
  gradients,
  layerNorm,
  linear,
  loraLinear,
  mean,
  reshape,
  rmsNorm,
  rope,
  ropeTable,
  swiglu,
  type Tensor,
  tensor,
} from '@s3t/engine';
import { batchOf, llama, type NetName, vit, weightsOf } from '../nets.ts';

/** A training step: forward, backward, and the update if an optimiser was asked for. */
export interface TrainingStep {
  parameters: Tensor[];
  /** Uploads what changes from step to step. */
  prepare(): void;
  /** Run it in a scope, or capture it. */
  step(): { loss: Tensor; gradients: Tensor[] };
}

type Find = (name: string) => Tensor;

export function trainingStep(device: Device, net: NetName, optimise: boolean): TrainingStep {
  const weights = weightsOf(net);
  const byName = new Map(
    weights.map(({ name, shape, trained, values }) => [
      name,
      tensor(device, values, shape, trained ? { trainable: true } : { constant: true }),
    ]),
  );
  const find: Find = (name) => byName.get(name)!;
  const parameters = weights.filter(({ trained }) => trained).map(({ name }) => find(name));
  const { x, labels } = batchOf(net);
  const { batch, tokens, width } = net === 'vit' ? vit : llama;
  const input = tensor(device, x, [batch, tokens, width]);
  const classes = tensor(device, labels);
  const even = tensor(device, new Float32Array(labels.length).fill(1));
  const logits = net === 'vit' ? vitForward(find) : llamaForward(device, find);
  const optimiser = optimise ? new AdamW(device, parameters) : null;
  return {
    parameters,
    prepare: () => optimiser?.begin(1e-4),
    step: () => {
      const loss = crossEntropy(logits(input), classes, even);
      const found = gradients(loss, parameters);
      optimiser?.apply(found);
      return { loss, gradients: found };
    },
  };
}

function vitForward(find: Find): (x: Tensor) => Tensor {
  const { blocks, heads, scale, epsilon } = vit;
  const norm = (x: Tensor, name: string) =>
    layerNorm(x, find(`${name}.weight`), find(`${name}.bias`), epsilon);
  const dense = (x: Tensor, name: string) => linear(x, find(`${name}.weight`), find(`${name}.bias`));
  const adapted = (x: Tensor, name: string) =>
    loraLinear(x, find(`${name}.weight`), find(`${name}.bias`), {
      down: find(`${name}.down`),
      up: find(`${name}.up`),
      scale,
    });
  return (input) => {
    let x = input;
    for (let i = 0; i < blocks; i++) {
      const h = norm(x, `${i}.norm1`);
      const [q, k, v] = [adapted(h, `${i}.query`), dense(h, `${i}.key`), adapted(h, `${i}.value`)];
      x = add(x, dense(attention(q, k, v, heads), `${i}.output`));
      x = add(x, dense(gelu(dense(norm(x, `${i}.norm2`), `${i}.up`)), `${i}.down`));
    }
    return dense(mean(norm(x, 'norm'), 1), 'head');
  };
}

function llamaForward(device: Device, find: Find): (x: Tensor) => Tensor {
  const { blocks, heads, keyHeads, scale, epsilon, tokens, width, classes } = llama;
  const table = ropeTable(device, { headWidth: width / heads, positions: tokens });
  const dense = (x: Tensor, name: string) => linear(x, find(`${name}.weight`), null);
  const adapted = (x: Tensor, block: number, name: 'query' | 'value') =>
    loraLinear(x, find(`${block}.${name}.weight`), null, {
      down: find(`${block}.${name}.down`),
      up: find(`${block}.${name}.up`),
      scale,
    });
  const attend = (q: Tensor, k: Tensor, v: Tensor) =>
    attention(rope(q, table), rope(k, table), v, heads, { keyValueHeads: keyHeads, causal: true });
  return (input) => {
    let x = input;
    for (let i = 0; i < blocks; i++) {
      const h = rmsNorm(x, find(`${i}.norm1.weight`), epsilon);
      const [q, k, v] = [adapted(h, i, 'query'), dense(h, `${i}.key`), adapted(h, i, 'value')];
      x = add(x, dense(attend(q, k, v), `${i}.output`));
      const y = rmsNorm(x, find(`${i}.norm2.weight`), epsilon);
      x = add(x, dense(swiglu(dense(y, `${i}.gate`), dense(y, `${i}.up`)), `${i}.down`));
    }
    return reshape(dense(rmsNorm(x, find('norm.weight'), epsilon), 'head'), [-1, classes]);
  };
}
