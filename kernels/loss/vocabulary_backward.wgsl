// For a chunk of the classes, in place of the logits: gradient * weight / total_weight * (softmax(logits) - one_hot(label)).
// What pads the rows becomes zero. One invocation four classes.

// The chunk holds the classes first, first + 1, ... of `vocabulary`; its rows are padded to whole vec4.
struct Params { count: u32, width4: u32, classes: u32, first: u32, vocabulary: u32 }

@group(0) @binding(0) var<storage, read_write> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> total_weight: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read> log_sums: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let row = i / params.width4;
  let column = vec4u((i % params.width4) * 4u) + vec4u(0u, 1u, 2u, 3u);
  let scale = gradient[0] * weights[row] / total_weight[0];
  let label = min(labels[row], params.vocabulary - 1u);
  let hit = select(vec4f(0.0), vec4f(1.0), column + params.first == vec4u(label));
  let slope = scale * (exp(logits[i] - log_sums[row]) - hit);
  logits[i] = select(vec4f(0.0), slope, column < vec4u(params.classes));
}
