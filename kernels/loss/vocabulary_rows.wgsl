// Puts the parts of loss/vocabulary_parts together, in their order. Per row: log(sum exp(logits)), and
// weight * (log(sum exp(logits)) - logits[label]). One invocation a row.

struct Params { rows: u32, parts: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> parts: array<vec2f>;
@group(0) @binding(1) var<storage, read> chosen: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> log_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.parts;
  var largest = parts[base].x;
  for (var i = 1u; i < params.parts; i++) { largest = max(largest, parts[base + i].x); }
  var sum = 0.0;
  for (var i = 0u; i < params.parts; i++) { sum += parts[base + i].y * exp(parts[base + i].x - largest); }
  let log_sum = log(sum) + largest;
  log_sums[row] = log_sum;
  losses[row] = weights[row] * (log_sum - chosen[row]);
}
