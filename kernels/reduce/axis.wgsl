// Reduces the middle axis of [outer, axis, inner]: one invocation an output, a serial walk along a part of the axis.
// Long axes are cut into parts of fixed length; a second launch reduces the parts. So the order of the sum depends
// on the shape alone. `operation`: 0 sum, 1 maximum, 2 sum of squares.

const operation: u32 = 0u;

struct Params {
  outer: u32,
  axis: u32,
  inner: u32,
  part: u32,
  // Where the operands begin, in elements.
  x_offset: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let parts = (params.axis + params.part - 1u) / params.part;
  if (i >= params.outer * parts * params.inner) {
    return;
  }
  let inner = i % params.inner;
  let part = (i / params.inner) % parts;
  let outer = i / (params.inner * parts);
  let first = part * params.part;
  let last = min(first + params.part, params.axis);
  let base = params.x_offset + outer * params.axis * params.inner + inner;
  var total = select(0.0, x[base + first * params.inner], operation == 1u);
  for (var j = first; j < last; j++) {
    let v = x[base + j * params.inner];
    if (operation == 0u) { total += v; }
    else if (operation == 1u) { total = max(total, v); }
    else { total += v * v; }
  }
  y[params.y_offset + i] = total;
}
