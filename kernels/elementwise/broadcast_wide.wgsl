// elementwise/broadcast where the last axis is a whole number of vec4, and each operand runs along it or is repeated along it:
// four elements an invocation, and a quarter of the divisions.

const operation: u32 = 0u;
/** x is repeated along the last axis: its strides count elements, else vec4. */
const REPEAT_X: bool = false;
const REPEAT_Y: bool = false;

struct Params {
  /** In vec4. */
  count: u32,
  rank: u32,
  pad0: u32,
  pad1: u32,
  // Per axis: extent (the last in vec4), stride of x, stride of y.
  axes: array<vec4u, 6>,
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> z: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn apply(a: vec4f, b: vec4f) -> vec4f {
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

fn load_x(at: u32) -> vec4f {
  if (REPEAT_X) {
    return vec4f(x[at / 4u][at % 4u]);
  }
  return x[at];
}

fn load_y(at: u32) -> vec4f {
  if (REPEAT_Y) {
    return vec4f(y[at / 4u][at % 4u]);
  }
  return y[at];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  var rest = i;
  var at_x = 0u;
  var at_y = 0u;
  for (var axis = params.rank - 1u; axis > 0u; axis--) {
    let next = rest / params.axes[axis].x;
    let index = rest - next * params.axes[axis].x;
    at_x += index * params.axes[axis].y;
    at_y += index * params.axes[axis].z;
    rest = next;
  }
  at_x += rest * params.axes[0].y;
  at_y += rest * params.axes[0].z;
  z[i] = apply(load_x(at_x), load_y(at_y));
}
