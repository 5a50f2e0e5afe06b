// Philox-4x32-10 draws: the four words of one counter become four elements. The key and the step come from a buffer, so a
// replayed step draws anew. Counter: (index / 4, step, stream, 2 for uniform or 3 for normal).
//   uniform: the upper 24 bits of a word over 2^24, in [0, 1)
//   normal: Box and Muller (1958), words in pairs (a, b): radius = sqrt(-2 ln ((a >> 8) + 1) / 2^24), angle = 2 pi (b >> 8) / 2^24;
//     elements radius * cos(angle), radius * sin(angle)
// What is bound may be a stretch of the whole from its four elements number `first` on: counters go on from there.
// Logarithm, cosine and sine are polynomials here: what is built in differs from adapter to adapter.

const normal: bool = false;

struct Params { count: u32, stream: u32, first: u32, pad: u32 }

@group(0) @binding(0) var<storage, read> state: array<u32>; // key low, key high, step
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

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

// -ln(n / 2^24) for n = 1 .. 2^24: ln m = 2 artanh(r), r = (m - 1) / (m + 1), for m in [2/3, 4/3], and whole powers of two.
fn minus_log(n: u32) -> f32 {
  var power = 31u - countLeadingZeros(n);
  var m = f32(n) / f32(1u << power);
  if (m > 1.3333333) {
    m *= 0.5;
    power += 1u;
  }
  let r = (m - 1.0) / (m + 1.0);
  let s = r * r;
  let tail = s * (0.33333333 + s * (0.2 + s * (0.14285714 + s * (0.11111111 + s * 0.09090909))));
  return f32(24u - power) * 0.69314718 - 2.0 * (r + r * tail);
}

// (cosine, sine) of 2 pi n / 2^24: whole quarters are turned exactly, what is left lies within pi / 4.
fn turn(n: u32) -> vec2f {
  let quarter = ((n + 0x200000u) >> 22u) & 3u;
  let rest = f32(i32((n + 0x200000u) & 0x3fffffu) - 0x200000) * 3.7450703e-7;
  let s = rest * rest;
  let c = 1.0 - s * (0.5 - s * (0.041666667 - s * (0.0013888889 - s * 2.4801587e-5)));
  let d = rest - rest * s * (0.16666667 - s * (0.0083333333 - s * (1.984127e-4 - s * 2.7557319e-6)));
  switch quarter {
    case 0u: { return vec2f(c, d); }
    case 1u: { return vec2f(-d, c); }
    case 2u: { return vec2f(-c, -d); }
    default: { return vec2f(d, -c); }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) {
    let kind = select(2u, 3u, normal);
    let words = philox(vec4u(params.first + i, state[2], params.stream, kind), vec2u(state[0], state[1])) >> vec4u(8u);
    if (normal) {
      let first = sqrt(2.0 * minus_log(words.x + 1u)) * turn(words.y);
      let second = sqrt(2.0 * minus_log(words.z + 1u)) * turn(words.w);
      y[i] = vec4f(first, second);
    } else {
      y[i] = vec4f(words) * 5.9604645e-8;
    }
  }
}
