// Softmax attention without its score matrix: one invocation a query, one pass over the keys with a running maximum
// and sum (Milakov and Gimelshein 2018). The lanes of a workgroup are queries of one head, so every load of a key or
// value is the same for all of them. Rows are [batch, token, head, head_width].
// Besides the output it writes log(sum exp(scores)) per query, from which the backward pass makes the weights again.

const head_width4: u32 = 4u; // head width / 4

struct Params { queries: u32, keys: u32, heads: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> log_sum: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let query = group.x * 8u + lane.x;
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let width = params.heads * head_width4;
  // Lanes past the end repeat the last query and store nothing: all lanes stay together in the loop.
  let row = (batch * params.queries + min(query, params.queries - 1u)) * width + head * head_width4;

  var mine: array<vec4f, head_width4>;
  var sum: array<vec4f, head_width4>;
  // @unroll
  for (var i = 0u; i < head_width4; i++) {
    mine[i] = q[row + i] * bitcast<f32>(params.scale);
    sum[i] = vec4f(0.0);
  }
  var largest = -3.0e38;
  var total = 0.0;
  for (var key = 0u; key < params.keys; key++) {
    let at = (batch * params.keys + key) * width + head * head_width4;
    var products = vec4f(0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      products += mine[i] * k[at + i];
    }
    let score = (products.x + products.y) + (products.z + products.w);
    let next = max(largest, score);
    let fade = exp(largest - next);
    let weight = exp(score - next);
    total = total * fade + weight;
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      sum[i] = sum[i] * fade + weight * v[at + i];
    }
    largest = next;
  }
  if (query < params.queries) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      y[row + i] = sum[i] / total;
    }
    log_sum[group.y * params.queries + query] = largest + log(total);
  }
}
