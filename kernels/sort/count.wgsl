// First of three launches that sort positions by one digit of their keys, keeping the order of equal ones: how often each digit
// occurs in each block of positions. One invocation a block, which counts for itself: no atomics, so no order of arrival.

const DIGITS: u32 = 256u;
const SHIFT: u32 = 0u;
/** The positions are in their first order: there is no list of them yet. */
const FIRST: bool = true;

struct Params { count: u32, block: u32, largest: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>; // [blocks, DIGITS]
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let block = id.x + id.y * groups.x * 8u;
  let first = block * params.block;
  if (first >= params.count) {
    return;
  }
  var found: array<u32, DIGITS>;
  for (var i = first; i < min(first + params.block, params.count); i++) {
    var position = i;
    if (!FIRST) {
      position = order[i];
    }
    found[(min(keys[position], params.largest) >> SHIFT) % DIGITS]++;
  }
  for (var digit = 0u; digit < DIGITS; digit++) {
    counts[block * DIGITS + digit] = found[digit];
  }
}
