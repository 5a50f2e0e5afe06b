// attention/forward for CPU rasterisers with subgroups of eight, and heads of 32 or more: the subgroup shares the width of a head,
// every lane taking each eighth four of its elements, for some queries at once. A load there costs the same for one lane as for
// eight, so keys and values cost as little as can be, and the text stays short: unrolled over a wide head it compiles for many
// seconds. Scores of eight keys lie in the lanes, one each, when they become weights. Queries share nothing but loads.
enable subgroups;

const head_width4: u32 = 32u; // head width / 4
const MASKED: bool = false; // a key whose mask is 0 is seen by no query
const LANES: u32 = 8u;
const ROWS: u32 = 8u; // queries of a workgroup
const NOTHING: f32 = -3.0e38; // the score of a key that is not seen

/** Fours of a head that a lane takes. */
const SHARE: u32 = (head_width4 + LANES - 1u) / LANES;

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

/** The sum over the lanes, in every lane. */
fn sum_of_lanes(value: f32, lane: u32) -> f32 {
  var sum = value;
  sum += subgroupShuffle(sum, lane ^ 1u);
  sum += subgroupShuffle(sum, lane ^ 2u);
  sum += subgroupShuffle(sum, lane ^ 4u);
  return sum;
}

fn most_of_lanes(value: f32, lane: u32) -> f32 {
  var most = value;
  most = max(most, subgroupShuffle(most, lane ^ 1u));
  most = max(most, subgroupShuffle(most, lane ^ 2u));
  most = max(most, subgroupShuffle(most, lane ^ 4u));
  return most;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
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
  let first_query = group.x * ROWS;
  let first_row = (batch * params.queries + first_query) * params.heads + head;
  let last = min(ROWS, params.queries - first_query) - 1u;

  // The loop ends with the keys that the last query of the workgroup sees.
  var offset = params.offset;
  if (params.cached != 0u) {
    offset = min(start[batch], params.keys);
  }
  let end = min(first_query + last + 1u + offset, params.keys);

  // A lane past the end of the head repeats its last four, as zeros.
  var mine: array<vec4f, ROWS * SHARE>;
  var sum: array<vec4f, ROWS * SHARE>;
  // @unroll
  for (var i = 0u; i < SHARE; i++) {
    let at = min(i * LANES + lane, head_width4 - 1u);
    let scale = select(0.0, bitcast<f32>(params.scale), i * LANES + lane < head_width4);
    // @unroll
    for (var row = 0u; row < ROWS; row++) {
      mine[row * SHARE + i] = q[(first_row + min(row, last) * params.heads) * head_width4 + at] * scale;
      sum[row * SHARE + i] = vec4f(0.0);
    }
  }
  var largest: array<f32, ROWS>;
  var total: array<f32, ROWS>; // of the keys of this lane
  // @unroll
  for (var row = 0u; row < ROWS; row++) {
    largest[row] = NOTHING;
    total[row] = 0.0;
  }

  for (var first = 0u; first < end; first += LANES) {
    // No number that a compiler knows: it would write the loops out.
    let tokens = min(LANES, end - first);
    var scores: array<f32, ROWS>;
    for (var token = 0u; token < tokens; token++) {
      let base = ((key_row * params.keys + first + token) * params.key_heads + key_head) * head_width4;
      var products = array<vec4f, ROWS>();
      // @unroll
      for (var i = 0u; i < SHARE; i++) {
        let value = k[base + min(i * LANES + lane, head_width4 - 1u)];
        // @unroll
        for (var row = 0u; row < ROWS; row++) {
          products[row] += mine[row * SHARE + i] * value;
        }
      }
      // @unroll
      for (var row = 0u; row < ROWS; row++) {
        let product = (products[row].x + products[row].y) + (products[row].z + products[row].w);
        scores[row] = select(scores[row], sum_of_lanes(product, lane), lane == token);
      }
    }

    var open = true;
    if (MASKED) {
      open = mask[batch * params.keys + min(first + lane, end - 1u)] != 0u;
    }
    var weights: array<f32, ROWS>;
    // @unroll
    for (var row = 0u; row < ROWS; row++) {
      let visible = open && first + lane < min(first_query + row + offset + 1u, params.keys);
      let score = select(NOTHING, scores[row], visible);
      let next = max(largest[row], most_of_lanes(score, lane));
      let fade = exp(largest[row] - next);
      weights[row] = select(0.0, exp(score - next), visible);
      total[row] = total[row] * fade + weights[row];
      largest[row] = next;
      // @unroll
      for (var i = 0u; i < SHARE; i++) {
        sum[row * SHARE + i] *= fade;
      }
    }

    for (var token = 0u; token < tokens; token++) {
      let base = ((key_row * params.keys + first + token) * params.key_heads + key_head) * head_width4;
      // @unroll
      for (var i = 0u; i < SHARE; i++) {
        let value = v[base + min(i * LANES + lane, head_width4 - 1u)];
        // @unroll
        for (var row = 0u; row < ROWS; row++) {
          sum[row * SHARE + i] += subgroupShuffle(weights[row], token) * value;
        }
      }
    }
  }

  // @unroll
  for (var row = 0u; row < ROWS; row++) {
    let whole = sum_of_lanes(total[row], lane);
    // A sum of zero: nothing was seen.
    let divisor = select(whole, 1.0, whole == 0.0);
    if (row <= last) {
      // @unroll
      for (var i = 0u; i < SHARE; i++) {
        if (i * LANES + lane < head_width4) {
          y[(first_row + row * params.heads) * head_width4 + i * LANES + lane] = sum[row * SHARE + i] / divisor;
        }
      }
      if (lane == 0u) {
        let at = (batch * params.heads + head) * params.queries + first_query + row;
        rows[at] = vec2f(largest[row] + log(divisor), 0.0);
      }
    }
  }
}
