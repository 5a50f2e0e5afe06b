// For a chunk of the classes, per row and part of 128 classes: the largest logit, and sum exp(logit - largest). The parts of
// all chunks are put together by loss/vocabulary_rows. Whoever walks the part with the row's label keeps its logit.
// One invocation a part.

const PART4: u32 = 32u; // classes in a part / 4

// The chunk holds the classes first, first + 1, ... of `vocabulary`; its rows are padded to whole vec4.
struct Params { rows: u32, width4: u32, classes: u32, first: u32, vocabulary: u32, first_part: u32, all_parts: u32 }

@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> chosen: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Four logits of a row; those past the last class weigh nothing.
fn logits_at(row: u32, i: u32) -> vec4f {
  let column = vec4u(i * 4u) + vec4u(0u, 1u, 2u, 3u);
  return select(vec4f(-3.0e38), logits[row * params.width4 + i], column < vec4u(params.classes));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let own_parts = (params.width4 + PART4 - 1u) / PART4;
  if (i >= params.rows * own_parts) {
    return;
  }
  let row = i / own_parts;
  let part = i % own_parts;
  let begin = part * PART4;
  let end = min(begin + PART4, params.width4);
  var four = vec4f(-3.0e38);
  for (var j = begin; j < end; j++) { four = max(four, logits_at(row, j)); }
  let largest = max(max(four.x, four.y), max(four.z, four.w));
  var sum = vec4f(0.0);
  for (var j = begin; j < end; j++) { sum += exp(logits_at(row, j) - largest); }
  parts[row * params.all_parts + params.first_part + part] = vec2f(largest, (sum.x + sum.y) + (sum.z + sum.w));

  let label = min(labels[row], params.vocabulary - 1u);
  if (label >= params.first && label - params.first < params.classes) {
    let place = label - params.first;
    if (place / (PART4 * 4u) == part) { chosen[row] = logits[row * params.width4 + place / 4u][place % 4u]; }
  }
}
