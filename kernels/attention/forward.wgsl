// Softmax attention without its score matrix: one invocation a query, one pass over the keys with a running maximum
// and sum (Milakov and Gimelshein 2018). The lanes of a workgroup are queries of one head, so every load of a key or
// value is the same for all of them. Rows are [batch, token, head, head_width]; workgroups are [queries / LANES, head, batch].
// Besides the output it writes log(sum exp(scores)) per query, from which the backward pass makes the weights again.
// A key that is not seen has weight zero, to the bit as if it were not there; a query that sees none gets zeros.

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
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let query = group.x * LANES + lane.x;
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
  // Lanes past the end repeat the last query and store nothing: all lanes stay together in the loop.
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
  for (var key = 0u; key < end; key++) {
    let at = ((key_row * params.keys + key) * params.key_heads + key_head) * head_width4;
    let visible = key < seen && (!MASKED || mask[batch * params.keys + key] != 0u);
    var products = vec4f(0.0);
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      products += mine[i] * k[at + i];
    }
    // No branch: under one, every sum would be blended with a mask.
    let score = select(-3.0e38, (products.x + products.y) + (products.z + products.w), visible);
    let next = max(largest, score);
    let fade = exp(largest - next);
    let weight = select(0.0, exp(score - next), visible);
    total = total * fade + weight;
    // @unroll
    for (var i = 0u; i < head_width4; i++) {
      sum[i] = sum[i] * fade + weight * v[at + i];
    }
    largest = next;
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
