// attention/backward_query for CPU rasterisers with subgroups of eight; see attention/forward_subgroup.
enable subgroups;

const head_width4: u32 = 4u;
const LANES: u32 = 8u;

struct Params { queries: u32, keys: u32, heads: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> log_sum: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> inner: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let query = min(group.x * LANES + lane, params.queries - 1u);
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
  for (var first = 0u; first < params.keys; first += LANES) {
    let at = (batch * params.keys + min(first + lane, params.keys - 1u)) * width + head * head_width4;
    var keys: array<vec4f, head_width4>;
    var values: array<vec4f, head_width4>;
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      keys[i] = k[at + i];
      values[i] = v[at + i];
    }
    // @unroll
    for (var token = 0u; token < LANES; token++) {
      var scores = vec4f(0.0);
      var reach = vec4f(0.0);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        scores += mine[i] * subgroupShuffle(keys[i], token);
        reach += incoming[i] * subgroupShuffle(values[i], token);
      }
      let score = (scores.x + scores.y) + (scores.z + scores.w);
      let weight = select(0.0, exp(score - normaliser), first + token < params.keys);
      let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - own);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        sum[i] += slope * subgroupShuffle(keys[i], token);
      }
    }
  }
  if (group.x * LANES + lane < params.queries) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dq[row + i] = sum[i] * scale;
    }
    inner[at_query] = own;
  }
}
