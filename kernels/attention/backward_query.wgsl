// The gradient of attention for the queries: one invocation a query, one pass over the keys.
//   weight = exp(score - log_sum);  d score = weight * (dot(dy, v) - dot(dy, y));  dq = scale * sum d score * k

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
@group(0) @binding(4) var<storage, read> y: array<vec4f>;
@group(0) @binding(5) var<storage, read> dy: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
// Per query: log_sum, and dot(dy, y) for the pass over the keys that follows.
@group(0) @binding(7) var<storage, read_write> rows: array<vec2f>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let query = min(group.x * LANES + lane.x, params.queries - 1u);
  let head = group.y;
  let key_head = head / (params.heads / params.key_heads);
  let batch = group.z;
  let scale = bitcast<f32>(params.scale);
  let row = ((batch * params.queries + query) * params.heads + head) * head_width4;
  let at_query = (batch * params.heads + head) * params.queries + query;
  let seen = min(query + params.offset + 1u, params.keys);
  let end = min(min((group.x + 1u) * LANES, params.queries) + params.offset, params.keys);

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
  let normaliser = rows[at_query].x;
  for (var key = 0u; key < end; key++) {
    let at = ((batch * params.keys + key) * params.key_heads + key_head) * head_width4;
    let visible = key < seen && (!MASKED || mask[batch * params.keys + key] != 0u);
    var scores = vec4f(0.0);
    var reach = vec4f(0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      scores += mine[i] * k[at + i];
      reach += incoming[i] * v[at + i];
    }
    let score = (scores.x + scores.y) + (scores.z + scores.w);
    let weight = select(0.0, exp(score - normaliser), visible);
    let slope = weight * ((reach.x + reach.y) + (reach.z + reach.w) - own);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      sum[i] += slope * k[at + i];
    }
  }
  if (group.x * LANES + lane.x < params.queries) {
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      dq[row + i] = sum[i] * scale;
    }
    rows[at_query].y = own;
  }
}
