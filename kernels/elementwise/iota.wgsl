// y[i] = first + i, as the chosen type.

alias Element = u32;

struct Params { first: u32 }

@group(0) @binding(0) var<storage, read_write> y: array<Element>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&y)) {
    y[i] = Element(params.first + i);
  }
}
