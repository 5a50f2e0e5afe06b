// z = f(x, y) where an operand may be repeated along axes: stride 0 there. Up to six axes, innermost last.

const operation: u32 = 0u;

struct Params {
  count: u32,
  rank: u32,
  // Where the operands begin, in elements.
  x_offset: u32,
  y_offset: u32,
  // Per axis: extent, stride of x, stride of y, stride of z.
  axes: array<vec4u, 6>,
  z_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn apply(a: f32, b: f32) -> f32 {
  switch operation {
    case 0u: { return a + b; }
    case 1u: { return a - b; }
    case 2u: { return a * b; }
    case 3u: { return a / b; }
    case 7u: { return max(a, b); }
    case 8u: { return min(a, b); }
    default: { return a; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  var rest = i;
  var at_x = params.x_offset;
  var at_y = params.y_offset;
  var at_z = params.z_offset;
  for (var axis = params.rank; axis > 0u; axis--) {
    let extent = params.axes[axis - 1u].x;
    let index = rest % extent;
    rest /= extent;
    at_x += index * params.axes[axis - 1u].y;
    at_y += index * params.axes[axis - 1u].z;
    at_z += index * params.axes[axis - 1u].w;
  }
  z[at_z] = apply(x[at_x], y[at_y]);
}
