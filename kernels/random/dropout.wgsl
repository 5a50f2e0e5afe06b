// y = x * keep / (1 - rate), with keep drawn by Philox-4x32-10: the four words of one counter serve four elements.
// The key and the step come from a buffer, so a replayed step draws anew; `stream` tells uses within a step apart.
// What is bound may be a stretch of the whole from its four elements number `first` on: counters go on from there.

struct Params { first: u32, stream: u32, threshold: u32, scale: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> state: array<u32>; // key low, key high, step
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

// The 64-bit product of two words as (low, high), from 16-bit halves: WGSL has no wide multiply.
fn multiply(a: u32, b: u32) -> vec2u {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let low = al * bl;
  let middle = ah * bl + (low >> 16u);
  let cross = al * bh + (middle & 0xffffu);
  return vec2u((cross << 16u) | (low & 0xffffu), ah * bh + (middle >> 16u) + (cross >> 16u));
}

fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var k = seed;
  for (var round = 0u; round < 10u; round++) {
    let p0 = multiply(0xD2511F53u, c.x);
    let p1 = multiply(0xCD9E8D57u, c.z);
    c = vec4u(p1.y ^ c.y ^ k.x, p1.x, p0.y ^ c.w ^ k.y, p0.x);
    k += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&y)) {
    let words = philox(vec4u(params.first + i, state[2], params.stream, 0u), vec2u(state[0], state[1]));
    let keep = words >= vec4u(params.threshold);
    y[i] = select(vec4f(0.0), x[i] * bitcast<f32>(params.scale), keep);
  }
}
