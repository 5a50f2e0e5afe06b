// layout/copy where the target runs along the last axis in whole vec4, and the source too, or one element is repeated along it.

alias Element = vec4u;
/** The source is repeated along the last axis: its strides and offset count elements, else vec4. */
const REPEAT: bool = false;

struct Params {
  /** In vec4. */
  count: u32,
  rank: u32,
  from_offset: u32,
  to_offset: u32,
  // Per axis: extent (the last in vec4), stride in the source, stride in the target.
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
  for (var axis = params.rank - 1u; axis > 0u; axis--) {
    let next = rest / params.axes[axis].x;
    let index = rest - next * params.axes[axis].x;
    read_at += index * params.axes[axis].y;
    write_at += index * params.axes[axis].z;
    rest = next;
  }
  read_at += rest * params.axes[0].y;
  write_at += rest * params.axes[0].z;
  if (REPEAT) {
    result[write_at] = Element(source[read_at / 4u][read_at % 4u]);
  } else {
    result[write_at] = source[read_at];
  }
}
