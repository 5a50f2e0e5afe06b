/** What a Llama block needs that the engine has no operation of its own for, made of those it has. */
import {
  add,
  affine,
  concat,
  divide,
  exp,
  expand,
  matmul,
  mean,
  multiply,
  negate,
  permute,
  reshape,
  slice,
  softmax,
  sqrt,
  square,
  type Tensor,
} from '@s3t/engine';

/** x / sqrt(mean(x^2) + epsilon) * weight over the last axis. */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const root = sqrt(affine(mean(square(x), -1, true), 1, epsilon));
  return multiply(divide(x, root), weight);
}

/** RoPE on x [batch, heads, tokens, width], the halves of a head rotated against one another. */
export function rope(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  const half = x.shape[3]! / 2;
  const turned = concat([negate(slice(x, 3, half, half)), slice(x, 3, 0, half)], 3);
  return add(multiply(x, cos), multiply(turned, sin));
}

/** silu(gate) * up. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return multiply(divide(gate, affine(exp(negate(gate)), 1, 1)), up);
}

interface CausalOptions {
  heads: number;
  keyHeads: number;
  cos: Tensor;
  sin: Tensor;
  /** [tokens, tokens]: 0 where a token may look, a large negative number elsewhere. */
  mask: Tensor;
}

/** Causal grouped-query attention with rotated queries and keys; q [batch, tokens, heads * width], k and v with `keyHeads`. */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, options: CausalOptions): Tensor {
  const { heads, keyHeads, cos, sin, mask } = options;
  const [batch, tokens, wide] = q.shape as [number, number, number];
  const width = wide / heads;
  const split = (x: Tensor, count: number): Tensor =>
    permute(reshape(x, [batch, tokens, count, width]), [0, 2, 1, 3]);
  const share = (x: Tensor): Tensor => {
    const alone = reshape(x, [batch, keyHeads, 1, tokens, width]);
    const spread = expand(alone, [batch, keyHeads, heads / keyHeads, tokens, width]);
    return reshape(spread, [batch * heads, tokens, width]);
  };
  const queries = reshape(rope(split(q, heads), cos, sin), [batch * heads, tokens, width]);
  const keys = share(rope(split(k, keyHeads), cos, sin));
  const scores = matmul(queries, keys, { transposeB: true, alpha: 1 / Math.sqrt(width) });
  const mixed = matmul(softmax(add(scores, mask)), share(split(v, keyHeads)));
  return reshape(permute(reshape(mixed, [batch, heads, tokens, width]), [0, 2, 1, 3]), q.shape);
}
