// The gradient of attention for keys and values: one invocation a key, one pass over the queries of each head it serves.
//   dv = sum weight * dy;  dk = scale * sum weight * (dot(dy, v) - inner) * q,  inner = dot(dy, y)

const head_width4: u32 = 4u; // head width / 4
const MASKED: bool = false; // a key whose mask is 0 is seen by no query
const LANES: u32 = 8u;

struct Params {
  queries: u32,
  keys: u32,
  heads: u32,
  scale: u32,
  /** Query i sees the keys up to i + offset: with as many as there are keys, all. */
  offset: u32,
  key_heads: u32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
// Per query: log_sum and inner.
@group(0) @binding(4) var<storage, read> rows: array<vec2f>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let key = min(group.x * LANES + lane.x, params.keys - 1u);
  let batch = group.z;
  let scale = bitcast<f32>(params.scale);
  let row = ((batch * params.keys + key) * params.key_heads + group.y) * head_width4;
  // The first query that sees this key, and the first that sees any key of the workgroup: the loop begins there.
  let seen_from = key - min(key, params.offset);
  let begin = group.x * LANES - min(group.x * LANES, params.offset);
  var open = true;
  if (MASKED) { open = mask[batch * params.keys + key] != 0u; }

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
  let members = params.heads / params.key_heads;
  for (var member = 0u; member < members; member++) {
    let head = group.y * members + member;
    let first_row = (batch * params.heads + head) * params.queries;
    for (var query = begin; query < params.queries; query++) {
      let at = ((batch * params.queries + query) * params.heads + head) * head_width4;
      let about = rows[first_row + query];
      var scores = vec4f(0.0);
      var reach = vec4f(0.0);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        scores += q[at + i] * my_key[i];
        reach += dy[at + i] * my_value[i];
      }
      let score = (scores.x + scores.y) + (scores.z + scores.w);
      let weight = select(0.0, exp(score - about.x), query >= seen_from && open);
      let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - about.y);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        sum_value[i] += weight * dy[at + i];
        sum_key[i] += slope * q[at + i];
      }
    }
  }
  if (group.x * LANES + lane.x < params.keys) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dk[row + i] = sum_key[i] * scale;
      dv[row + i] = sum_value[i];
    }
  }
}
