// z = 1 where the comparison of x and y holds, else 0. An operand may be repeated along axes: stride 0 there.

const operation: u32 = 0u; // 0 <, 1 <=, 2 ==

struct Params {
  count: u32,
  rank: u32,
  pad0: u32,
  pad1: u32,
  // Per axis, innermost last: extent, stride of x, stride of y.
  axes: array<vec4u, 6>,
  // Where x, y and (the last) z begin in what is bound, which may be a stretch of the whole.
  starts: vec4u,
  // Of z, per axis.
  z_strides: array<vec4u, 2>,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

fn holds(a: f32, b: f32) -> bool {
  switch operation {
    case 0u: { return a < b; }
    case 1u: { return a <= b; }
    default: { return a == b; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  var rest = i;
  var at = params.starts;
  for (var axis = params.rank; axis > 0u; axis--) {
    let extents = params.axes[axis - 1u];
    let z_stride = params.z_strides[(axis - 1u) / 4u][(axis - 1u) % 4u];
    at += (rest % extents.x) * vec4u(extents.yz, 0u, z_stride);
    rest /= extents.x;
  }
  z[at.w] = select(0u, 1u, holds(x[at.x], y[at.y]));
}
