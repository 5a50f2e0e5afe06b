// The gradient of attention for keys and values: one invocation a key, one pass over the queries.
//   dv = sum weight * dy;  dk = scale * sum weight * (dot(dy, v) - inner) * q,  inner = dot(dy, y)

const head_width4: u32 = 4u;

struct Params { queries: u32, keys: u32, heads: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> log_sum: array<f32>;
@group(0) @binding(4) var<storage, read> inner: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let key = min(group.x * 8u + lane.x, params.keys - 1u);
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let width = params.heads * head_width4;
  let scale = bitcast<f32>(params.scale);
  let row = (batch * params.keys + key) * width + head * head_width4;

  var my_key: array<vec4f, head_width4>;
  var my_value: array<vec4f, head_width4>;
  var sum_key: array<vec4f, head_width4>;
  var sum_value: array<vec4f, head_width4>;
  // @unroll
  for (var i = 0u; i < head_width4; i++) {
    my_key[i] = k[row + i] * scale;
    my_value[i] = v[row + i];
    sum_key[i] = vec4f(0.0);
    sum_value[i] = vec4f(0.0);
  }
  for (var query = 0u; query < params.queries; query++) {
    let at = (batch * params.queries + query) * width + head * head_width4;
    let at_query = group.y * params.queries + query;
    var scores = vec4f(0.0);
    var reach = vec4f(0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      scores += q[at + i] * my_key[i];
      reach += dy[at + i] * my_value[i];
    }
    let weight = exp((scores.x + scores.y) + (scores.z + scores.w) - log_sum[at_query]);
    let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - inner[at_query]);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      sum_value[i] += weight * dy[at + i];
      sum_key[i] += slope * q[at + i];
    }
  }
  if (group.x * 8u + lane.x < params.keys) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dk[row + i] = sum_key[i] * scale;
      dv[row + i] = sum_value[i];
    }
  }
}
