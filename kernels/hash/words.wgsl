// Four sums over the 32-bit words of a tensor, one in each lane: word w at place i adds fmix(w ^ fmix(i ^ seed)) modulo 2^32, with
// the finaliser of MurmurHash3 (Appleby) and the lane's seed. Integer sums come out alike in any order, on every adapter.
// Invocation p adds up the words p, p + stride, p + 2 stride, ...; hash/finish adds up the invocations.
// What is bound may be a stretch of the whole from word `first` on: then the sums of the words before are there already.

struct Params { count: u32, stride: u32, first: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4u>;
@group(0) @binding(2) var<uniform> params: Params;

fn fmix(h: vec4u) -> vec4u {
  var x = (h ^ (h >> vec4u(16u))) * 0x85ebca6bu;
  x = (x ^ (x >> vec4u(13u))) * 0xc2b2ae35u;
  return x ^ (x >> vec4u(16u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.stride) {
    return;
  }
  let seeds = vec4u(0x9e3779b9u, 0x3c6ef372u, 0xdaa66d2bu, 0x78dde6e4u);
  var sum = vec4u(0u);
  if (params.first > 0u) {
    sum = sums[id.x];
  }
  for (var i = id.x; i < params.count; i += params.stride) {
    sum += fmix(vec4u(words[i]) ^ fmix(vec4u(params.first + i) ^ seeds));
  }
  sums[id.x] = sum;
}
