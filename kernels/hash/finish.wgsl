// The hash of a tensor's bytes from the sums of hash/words: fmix(sum + number of bytes) in each lane. One workgroup.

struct Params { sums: u32, bytes: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> sums: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4u>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES: u32 = 64u;
var<workgroup> partial: array<vec4u, LANES>;

fn fmix(h: vec4u) -> vec4u {
  var x = (h ^ (h >> vec4u(16u))) * 0x85ebca6bu;
  x = (x ^ (x >> vec4u(13u))) * 0xc2b2ae35u;
  return x ^ (x >> vec4u(16u));
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec4u(0u);
  for (var i = lane; i < params.sums; i += LANES) {
    sum += sums[i];
  }
  partial[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    for (var i = 1u; i < LANES; i++) {
      sum += partial[i];
    }
    result[0] = fmix(sum + vec4u(params.bytes));
  }
}
