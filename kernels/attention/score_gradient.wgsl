// From the scores of a block of queries, and the products dot(dy, v) beside them, to weights and the gradient of the scores:
//   weight = exp(score - log_sum);  d score = weight * (dot(dy, v) - dot(dy, y))
// both zero, whatever was there, where a key is not seen. Blocks are [batch row, head, query, keys padded to whole vectors]. A
// workgroup takes a row of them, so that no index has to be divided.

const MASKED: bool = false; // a key whose mask is 0 is seen by no query
const LANES: u32 = 8u;

struct Params {
  keys: u32,
  queries: u32,
  heads: u32,
  /** Query i sees the keys up to i + offset: with as many as there are keys, all. */
  offset: u32,
  /** Which query, head and batch row come first, and from one to the next head. */
  query: u32,
  head: u32,
  head_step: u32,
  batch: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<vec2f>; // [batch, heads, queries]: log_sum, dot(dy, y)
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> scores: array<vec4f>; // then weights
@group(0) @binding(3) var<storage, read_write> reach: array<vec4f>; // dot(dy, v), then d score
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) lane: vec3u,
) {
  let query = params.query + group.x;
  let head = params.head + group.y * params.head_step;
  let batch = params.batch + group.z;
  let about = rows[(batch * params.heads + head) * params.queries + query];
  let keys4 = (params.keys + 3u) / 4u;
  let row = ((group.z * groups.y + group.y) * groups.x + group.x) * keys4;
  for (var i = lane.x; i < keys4; i += LANES) {
    let key = vec4u(0u, 1u, 2u, 3u) + i * 4u;
    var seen = (key < vec4u(params.keys)) & (key <= vec4u(query + params.offset));
    if (MASKED) {
      let at = batch * params.keys + min(key, vec4u(params.keys - 1u));
      seen = seen & (vec4u(mask[at.x], mask[at.y], mask[at.z], mask[at.w]) != vec4u(0u));
    }
    let weight = exp(scores[row + i] - about.x);
    scores[row + i] = select(vec4f(0.0), weight, seen);
    reach[row + i] = select(vec4f(0.0), weight * (reach[row + i] - about.y), seen);
  }
}
