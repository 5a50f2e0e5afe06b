// The gradient of attention for the queries: one invocation a query, one pass over the keys.
//   weight = exp(score - log_sum);  d score = weight * (dot(dy, v) - dot(dy, y));  dq = scale * sum d score * k

const head_width4: u32 = 4u;

struct Params { queries: u32, keys: u32, heads: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> log_sum: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
// dot(dy, y) per query, for the pass over the keys that follows.
@group(0) @binding(7) var<storage, read_write> inner: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let query = min(group.x * 8u + lane.x, params.queries - 1u);
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let width = params.heads * head_width4;
  let scale = bitcast<f32>(params.scale);
  let row = (batch * params.queries + query) * width + head * head_width4;
  let at_query = group.y * params.queries + query;

  var mine: array<vec4f, head_width4>;
  var incoming: array<vec4f, head_width4>;
  var sum: array<vec4f, head_width4>;
  var products = vec4f(0.0);
  // @unroll
  for (var i = 0u; i < head_width4; i++) {
    mine[i] = q[row + i] * scale;
    incoming[i] = dy[row + i];
    products += incoming[i] * y[row + i];
    sum[i] = vec4f(0.0);
  }
  let own = (products.x + products.y) + (products.z + products.w);
  let normaliser = log_sum[at_query];
  for (var key = 0u; key < params.keys; key++) {
    let at = (batch * params.keys + key) * width + head * head_width4;
    var scores = vec4f(0.0);
    var reach = vec4f(0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      scores += mine[i] * k[at + i];
      reach += incoming[i] * v[at + i];
    }
    let weight = exp((scores.x + scores.y) + (scores.z + scores.w) - normaliser);
    let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - own);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      sum[i] += slope * k[at + i];
    }
  }
  if (group.x * 8u + lane.x < params.queries) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dq[row + i] = sum[i] * scale;
    }
    inner[at_query] = own;
  }
}
