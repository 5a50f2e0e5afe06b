// Adds up, part by part in order, what matmul/tiled computed of a product that is deep in k: C = alpha * sum (+ C).
//
// 0: the parts [batch, parts, m, n]    1: C [batch, m, n]    2: params
/** Add to what C holds. */
const ACCUMULATE: bool = false;

struct Params {
  count: u32,
  /** Elements of one product. */
  product: u32,
  parts: u32,
  alpha: f32,
}

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let first = i / params.product * params.parts * params.product + i % params.product;
  var sum = 0.0;
  for (var part = 0u; part < params.parts; part++) {
    sum += partial[first + part * params.product];
  }
  var value = params.alpha * sum;
  if (ACCUMULATE) {
    value += c[i];
  }
  c[i] = value;
}
