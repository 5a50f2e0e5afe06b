import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { batchOf, type NetName, nets, vit, weightsOf } from '../nets.ts';
import { attention, gelu, layerNorm, type Tf } from './tfjs-operations.ts';

/** A training step: loss, and the gradients of the adapters. @throws Error for a net that is not written for tfjs */
export function trainingStep(tf: Tf, net: NetName): () => Tensor[] {
  if (net !== 'vit') throw new Error('not written for tfjs: it has no grouped-query attention');
  const weights = weightsOf(net);
  const tensors = new Map(weights.map(({ name, shape, values }) => [name, tf.tensor(values, [...shape])]));
  const names = weights.filter(({ trained }) => trained).map(({ name }) => name);
  const { batch, tokens, width, classes } = nets[net];
  const { x, labels } = batchOf(net);
  const input = tf.tensor(x, [batch, tokens, width]);
  const target = tf.oneHot(tf.tensor1d(Array.from(labels), 'int32'), classes);
  const loss = (...adapters: Tensor[]): Scalar => {
    const take = (name: string): Tensor => adapters[names.indexOf(name)] ?? tensors.get(name)!;
    const chosen = tf.sum(tf.mul(tf.logSoftmax(vitForward(tf, take, input)), target));
    return tf.mul(chosen, -1 / labels.length) as Scalar;
  };
  const step = tf.valueAndGrads(loss);
  return () => {
    const { value, grads } = step(names.map((name) => tensors.get(name)!));
    return [value, ...grads];
  };
}

function vitForward(tf: Tf, take: (name: string) => Tensor, input: Tensor): Tensor {
  const { blocks, width, heads, scale, epsilon } = vit;
  const norm = (x: Tensor, name: string) =>
    layerNorm(tf, x, take(`${name}.weight`), take(`${name}.bias`), epsilon);
  // Products of matrices: with a leading axis tfjs has no gradient for a shared weight.
  const times = (x: Tensor, weight: Tensor) => {
    const y = tf.matMul(tf.reshape(x, [-1, x.shape.at(-1)!]), weight, false, true);
    return tf.reshape(y, [...x.shape.slice(0, -1), weight.shape[0]!]);
  };
  const dense = (x: Tensor, name: string) => tf.add(times(x, take(`${name}.weight`)), take(`${name}.bias`));
  const adapted = (x: Tensor, name: string) =>
    tf.add(dense(x, name), tf.mul(times(times(x, take(`${name}.down`)), take(`${name}.up`)), scale));
  let x = input;
  for (let i = 0; i < blocks; i++) {
    const h = norm(x, `${i}.norm1`);
    const [q, k, v] = [adapted(h, `${i}.query`), dense(h, `${i}.key`), adapted(h, `${i}.value`)];
    x = tf.add(x, dense(attention(tf, q, k, v, heads), `${i}.output`));
    x = tf.add(x, dense(gelu(tf, dense(norm(x, `${i}.norm2`), `${i}.up`)), `${i}.down`));
  }
  x = tf.reshape(tf.mean(norm(x, 'norm'), 1), [-1, width]);
  return dense(x, 'head');
}
