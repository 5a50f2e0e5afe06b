// Notes the number of a check in first[0] if any of `count` elements is a NaN or an infinity: all exponent bits set. The
// smallest number stays. Integers only: the order of invocations cannot matter.

struct Params { count: u32, number: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> base: array<u32>; // what a captured step's numbers count from
@group(0) @binding(2) var<storage, read_write> first: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count && (x[i] & 0x7f800000u) == 0x7f800000u) {
    atomicMin(&first[0], base[0] + params.number);
  }
}
