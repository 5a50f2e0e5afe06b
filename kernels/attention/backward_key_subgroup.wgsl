// attention/backward_key for CPU rasterisers with subgroups of eight; see attention/forward_subgroup.
enable subgroups;

const head_width4: u32 = 4u;
const LANES: u32 = 8u;

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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let key = min(group.x * LANES + lane, params.keys - 1u);
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
  for (var first = 0u; first < params.queries; first += LANES) {
    let query = min(first + lane, params.queries - 1u);
    let at = (batch * params.queries + query) * width + head * head_width4;
    let normaliser = log_sum[group.y * params.queries + query];
    let own = inner[group.y * params.queries + query];
    var queries: array<vec4f, head_width4>;
    var incoming: array<vec4f, head_width4>;
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      queries[i] = q[at + i];
      incoming[i] = dy[at + i];
    }
    // @unroll
    for (var token = 0u; token < LANES; token++) {
      var scores = vec4f(0.0);
      var reach = vec4f(0.0);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        scores += subgroupShuffle(queries[i], token) * my_key[i];
        reach += subgroupShuffle(incoming[i], token) * my_value[i];
      }
      let score = (scores.x + scores.y) + (scores.z + scores.w);
      let weight = select(0.0, exp(score - subgroupShuffle(normaliser, token)), first + token < params.queries);
      let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - subgroupShuffle(own, token));
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        sum_value[i] += weight * subgroupShuffle(incoming[i], token);
        sum_key[i] += slope * subgroupShuffle(queries[i], token);
      }
    }
  }
  if (group.x * LANES + lane < params.keys) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dk[row + i] = sum_key[i] * scale;
      dv[row + i] = sum_value[i];
    }
  }
}
