// attention/forward for CPU rasterisers with subgroups of eight: there a load costs the same for one row as for eight, so
// each lane loads the key and value of another token, and the subgroup hands them round. The same arithmetic in the
// same order otherwise.
enable subgroups;

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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let query = group.x * LANES + lane;
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
  let row = ((batch * params.queries + min(query, params.queries - 1u)) * params.heads + head) * head_width4;

  // The keys this query sees, and those that the last query of the workgroup sees: the loop ends there.
  var offset = params.offset;
  if (params.cached != 0u) {
    offset = min(start[batch], params.keys);
  }
  let seen = min(query + offset + 1u, params.keys);
  let end = min(min((group.x + 1u) * LANES, params.queries) + offset, params.keys);

  var mine: array<vec4f, head_width4>;
  var sum: array<vec4f, head_width4>;
  // @unroll
  for (var i = 0u; i < head_width4; i++) {
    mine[i] = q[row + i] * bitcast<f32>(params.scale);
    sum[i] = vec4f(0.0);
  }
  var largest = -3.0e38;
  var total = 0.0;
  for (var first = 0u; first < end; first += LANES) {
    let key = min(first + lane, end - 1u);
    let at = ((key_row * params.keys + key) * params.key_heads + key_head) * head_width4;
    var open = 1u;
    if (MASKED) { open = mask[batch * params.keys + key]; }
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
      var visible = first + token < seen;
      if (MASKED) { visible = subgroupShuffle(open, token) != 0u && visible; }
      // No branch: under one, every sum would be blended with a mask.
      let score = select(-3.0e38, (products.x + products.y) + (products.z + products.w), visible);
      let next = max(largest, score);
      let fade = exp(largest - next);
      let weight = select(0.0, exp(score - next), visible);
      total = total * fade + weight;
      // @unroll
      for (var i = 0u; i < head_width4; i++) {
        sum[i] = sum[i] * fade + weight * subgroupShuffle(values[i], token);
      }
      largest = next;
    }
  }
  if (query < params.queries) {
    // A sum of zero: nothing was seen.
    let divisor = select(total, 1.0, total == 0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      y[row + i] = sum[i] / divisor;
    }
    rows[(batch * params.heads + head) * params.queries + query] = vec2f(largest + log(divisor), 0.0);
  }
}
