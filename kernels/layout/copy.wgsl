// Moves a block of elements between two strided layouts: permute, slice, expand, concatenate and pad are all this.
// Up to six axes, innermost last. Elements are moved as bits; where a side is stored as f16, as f32.

alias Element = u32;

struct Params {
  count: u32,
  rank: u32,
  from_offset: u32,
  to_offset: u32,
  // Per axis: extent, stride in the source, stride in the target.
  axes: array<vec4u, 6>,
}

@group(0) @binding(0) var<storage, read> source: array<Element>;
@group(0) @binding(1) var<storage, read_write> result: array<Element>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  var rest = i;
  var read_at = params.from_offset;
  var write_at = params.to_offset;
  for (var axis = params.rank; axis > 0u; axis--) {
    let extent = params.axes[axis - 1u].x;
    let index = rest % extent;
    rest /= extent;
    read_at += index * params.axes[axis - 1u].y;
    write_at += index * params.axes[axis - 1u].z;
  }
  result[write_at] = source[read_at];
}
