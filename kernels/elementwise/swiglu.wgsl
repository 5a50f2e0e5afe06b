// y = silu(gate) * up, four elements at a time.

@group(0) @binding(0) var<storage, read> gate: array<vec4f>;
@group(0) @binding(1) var<storage, read> up: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&y)) {
    let v = gate[i];
    let e = exp(-abs(v));
    let s = select(e, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + e);
    y[i] = v * s * up[i];
  }
}
