// norm/softmax for rows of whole vec4. The sum takes the elements in the same order, so the bits are the same.

struct Params { rows: u32, width: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.x + id.y * groups.x * 8u;
  if (row >= params.rows) {
    return;
  }
  let width = params.width / 4u;
  let base = row * width;
  var most = x[base];
  for (var i = 1u; i < width; i++) { most = max(most, x[base + i]); }
  let largest = max(max(most.x, most.y), max(most.z, most.w));
  var sum = 0.0;
  for (var i = 0u; i < width; i++) {
    let e = exp(x[base + i] - largest);
    sum = sum + e.x + e.y + e.z + e.w;
  }
  for (var i = 0u; i < width; i++) { y[base + i] = exp(x[base + i] - largest) / sum; }
}
