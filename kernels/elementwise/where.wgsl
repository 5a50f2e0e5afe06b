// z = a where the mask is not 0, else b. Each of the three may be repeated along axes: stride 0 there.

struct Params {
  count: u32,
  rank: u32,
  pad0: u32,
  pad1: u32,
  // Per axis, innermost last: extent, stride of the mask, stride of a, stride of b.
  axes: array<vec4u, 6>,
  // Where mask, a, b and z begin in what is bound, which may be a stretch of the whole.
  starts: vec4u,
  // Of z, per axis.
  z_strides: array<vec4u, 2>,
}

@group(0) @binding(0) var<storage, read> mask: array<u32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> z: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

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
    at += (rest % extents.x) * vec4u(extents.yzw, z_stride);
    rest /= extents.x;
  }
  // A branch, not a select: the value that is not taken may be anything, and is not read.
  if (mask[at.x] != 0u) {
    z[at.w] = a[at.y];
  } else {
    z[at.w] = b[at.z];
  }
}
