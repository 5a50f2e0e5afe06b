// attention/forward for CPU rasterisers with subgroups of eight: there a load costs the same for one row as for eight, so
// each lane loads the key and value of another token, and the subgroup hands them round. The same arithmetic in the
// same order otherwise.
enable subgroups;

const head_width4: u32 = 4u; // head width / 4
const LANES: u32 = 8u;

struct Params { queries: u32, keys: u32, heads: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> log_sum: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let query = group.x * LANES + lane;
  let batch = group.y / params.heads;
  let head = group.y % params.heads;
  let width = params.heads * head_width4;
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
      var products = vec4f(0.0);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        products += mine[i] * subgroupShuffle(keys[i], token);
      }
      // A token past the end gets no weight. No branch: under one, every sum would be blended with a mask.
      let score = select(-3.0e38, (products.x + products.y) + (products.z + products.w), first + token < params.keys);
      let next = max(largest, score);
      let fade = exp(largest - next);
      let weight = exp(score - next);
      total = total * fade + weight;
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        sum[i] = sum[i] * fade + weight * subgroupShuffle(values[i], token);
      }
      largest = next;
    }
  }
  if (query < params.queries) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      y[row + i] = sum[i] / total;
    }
    log_sum[group.y * params.queries + query] = largest + log(total);
  }
}
