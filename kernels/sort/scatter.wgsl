// Last of three launches of a sorting pass (see sort/count): each block puts its positions where they belong, in order.

const DIGITS: u32 = 256u;
const SHIFT: u32 = 0u;
const FIRST: bool = true;

struct Params { count: u32, block: u32, largest: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>; // [blocks, DIGITS]
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let block = id.x + id.y * groups.x * 8u;
  let first = block * params.block;
  if (first >= params.count) {
    return;
  }
  var next: array<u32, DIGITS>;
  for (var digit = 0u; digit < DIGITS; digit++) {
    next[digit] = offsets[block * DIGITS + digit];
  }
  for (var i = first; i < min(first + params.block, params.count); i++) {
    var position = i;
    if (!FIRST) {
      position = order[i];
    }
    let digit = (min(keys[position], params.largest) >> SHIFT) % DIGITS;
    result[next[digit]] = position;
    next[digit]++;
  }
}
