// Notes the number of a check in first[0] if any of `count` elements is a NaN or an infinity: all exponent bits set. The
// smallest number stays. Integers only: the order of invocations cannot matter.

const HALF: bool = false; // x is stored as f16

struct Params { count: u32, number: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> base: array<u32>; // what a captured step's numbers count from
@group(0) @binding(2) var<storage, read_write> first: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  var bits = 0u;
  var exponent = 0x7f800000u;
  if (HALF) {
    bits = x[i / 2u] >> (i % 2u * 16u);
    exponent = 0x7c00u;
  } else {
    bits = x[i];
  }
  if ((bits & exponent) == exponent) {
    atomicMin(&first[0], base[0] + params.number);
  }
}
