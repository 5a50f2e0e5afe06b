// attention/forward for GPUs: a workgroup brings a tile of keys and values into workgroup memory for all its queries, and four
// invocations share a query. Each makes the score of every fourth key, and keeps every fourth part of the output. The same
// arithmetic in the same order otherwise.

const head_width4: u32 = 4u; // head width / 4, a multiple of SHARE
const MASKED: bool = false; // a key whose mask is 0 is seen by no query
const LANES: u32 = 16u; // queries of a workgroup
const SHARE: u32 = 4u; // invocations of a query
const TILE: u32 = 16u; // keys of a tile, a multiple of SHARE
const NOTHING: f32 = -3.0e38; // the score of a key that is not seen

struct Params {
  queries: u32,
  keys: u32,
  heads: u32,
  scale: u32,
  /** Query i sees the keys up to i + offset: with as many as there are keys, all. */
  offset: u32,
  key_heads: u32,
  /** If not zero, the offset of a batch row is start[batch]: attention over a cache. If 2, its keys are row cache_rows[batch] of it. */
  cached: u32,
  /** What is bound of keys and values begins with this row of theirs; unless they are named, so do the workgroups. */
  first: u32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read> start: array<u32>;
@group(0) @binding(5) var<storage, read> cache_rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> rows: array<vec2f>;
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> keys: array<vec4f, TILE * head_width4>;
var<workgroup> values: array<vec4f, TILE * head_width4>;
var<workgroup> scores: array<f32, LANES * TILE>;

@compute @workgroup_size(SHARE, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = id.x;
  let query = group.x * LANES + id.y;
  let head = group.y;
  let key_head = head / (params.heads / params.key_heads);
  var batch = params.first + group.z;
  var key_row = group.z;
  if (params.cached == 2u) {
    batch = group.z;
    // What is not bound wraps round or lies past the end: another launch has it.
    key_row = cache_rows[batch] - params.first;
    if (key_row >= arrayLength(&k) / (params.keys * params.key_heads * head_width4)) {
      return;
    }
  }
  // Lanes past the end repeat the last query and store nothing: all lanes meet at the barriers.
  let row = ((batch * params.queries + min(query, params.queries - 1u)) * params.heads + head) * head_width4;

  // The keys this query sees, and those that the last query of the workgroup sees: the loop ends there.
  var offset = params.offset;
  if (params.cached != 0u) {
    offset = min(start[batch], params.keys);
  }
  let seen = min(query + offset + 1u, params.keys);
  let end = min(min((group.x + 1u) * LANES, params.queries) + offset, params.keys);

  var mine: array<vec4f, head_width4>;
  // @unroll
  for (var i = 0u; i < head_width4; i++) {
    mine[i] = q[row + i] * bitcast<f32>(params.scale);
  }
  var sum: array<vec4f, head_width4 / SHARE>;
  // @unroll
  for (var i = 0u; i < head_width4 / SHARE; i++) {
    sum[i] = vec4f(0.0);
  }
  var largest = NOTHING;
  var total = 0.0;
  for (var first = 0u; first < end; first += TILE) {
    workgroupBarrier();
    for (var i = lane; i < TILE * head_width4; i += SHARE * LANES) {
      let key = min(first + i / head_width4, end - 1u);
      let at = ((key_row * params.keys + key) * params.key_heads + key_head) * head_width4 + i % head_width4;
      keys[i] = k[at];
      values[i] = v[at];
    }
    workgroupBarrier();
    for (var token = part; token < TILE; token += SHARE) {
      var products = vec4f(0.0);
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        products += mine[i] * keys[token * head_width4 + i];
      }
      let key = first + token;
      var visible = key < seen;
      if (MASKED) { visible = visible && mask[batch * params.keys + min(key, end - 1u)] != 0u; }
      let score = (products.x + products.y) + (products.z + products.w);
      scores[id.y * TILE + token] = select(NOTHING, score, visible);
    }
    workgroupBarrier();
    for (var token = 0u; token < TILE; token++) {
      let score = scores[id.y * TILE + token];
      let next = max(largest, score);
      let fade = exp(largest - next);
      // By its bits: a NaN is a score, and must not pass for a key that is not seen.
      let weight = select(0.0, exp(score - next), bitcast<u32>(score) != bitcast<u32>(NOTHING));
      total = total * fade + weight;
      // @unroll
      for (var i = 0u; i < head_width4 / SHARE; i++) {
        sum[i] = sum[i] * fade + weight * values[token * head_width4 + i * SHARE + part];
      }
      largest = next;
    }
  }
  if (query < params.queries) {
    // A sum of zero: nothing was seen.
    let divisor = select(total, 1.0, total == 0.0);
    // @unroll
    for (var i = 0u; i < head_width4 / SHARE; i++) {
      y[row + i * SHARE + part] = sum[i] / divisor;
    }
    if (part == 0u) {
      rows[(batch * params.heads + head) * params.queries + query] = vec2f(largest + log(divisor), 0.0);
    }
  }
}
