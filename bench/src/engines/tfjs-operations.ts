import type { Tensor } from '@tensorflow/tfjs-core';

export type Tf = typeof import('@tensorflow/tfjs-core');

/** x times the normal distribution function of x. */
export function gelu(tf: Tf, x: Tensor): Tensor {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}

/** LayerNorm over the last axis. */
export function layerNorm(tf: Tf, x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon))), weight), bias);
}

/** Multi-head attention of [batch, tokens, width]. */
export function attention(tf: Tf, q: Tensor, k: Tensor, v: Tensor, heads: number): Tensor {
  const [batch, tokens, width] = q.shape as [number, number, number];
  const split = (x: Tensor) =>
    tf.transpose(tf.reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
  const scores = tf.mul(tf.matMul(split(q), split(k), false, true), 1 / Math.sqrt(width / heads));
  const mixed = tf.matMul(tf.softmax(scores), split(v));
  return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch, tokens, width]);
}
