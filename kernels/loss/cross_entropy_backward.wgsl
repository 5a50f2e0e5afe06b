// d logits = gradient * weight / total_weight * (softmax(logits) - one_hot(label)). One invocation a row.

struct Params { rows: u32, classes: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> total_weight: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let base = row * params.classes;
  var largest = logits[base];
  for (var i = 1u; i < params.classes; i++) { largest = max(largest, logits[base + i]); }
  var sum = 0.0;
  for (var i = 0u; i < params.classes; i++) { sum += exp(logits[base + i] - largest); }
  let scale = gradient[0] * weights[row] / total_weight[0];
  let label = min(labels[row], params.classes - 1u);
  for (var i = 0u; i < params.classes; i++) {
    let p = exp(logits[base + i] - largest) / sum;
    dx[base + i] = scale * (p - select(0.0, 1.0, i == label));
  }
}
