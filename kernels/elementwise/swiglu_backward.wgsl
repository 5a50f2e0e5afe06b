// The gradients of silu(gate) * up, with s = sigmoid(gate):
//   d gate = dy * up * s * (1 + gate * (1 - s));  d up = dy * gate * s

@group(0) @binding(0) var<storage, read> gate: array<vec4f>;
@group(0) @binding(1) var<storage, read> up: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> d_gate: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> d_up: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&dy)) {
    let v = gate[i];
    let e = exp(-abs(v));
    let s = select(e, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + e);
    d_gate[i] = dy[i] * up[i] * s * (1.0 + v * (1.0 - s));
    d_up[i] = dy[i] * v * s;
  }
}
