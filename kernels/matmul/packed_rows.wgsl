// C = f(alpha * A * B^T (+ bias) (+ C) (+ residual)), row-major, for few rows of A and a packed B on CPU rasterisers (lavapipe): a
// language model that says one token after the other. n is a multiple of 4, k of 32.
//
// Unpacking B to a texture form, as matmul/panel wants it, pays where many rows use it: the stores alone cost more than the product
// of one row. Here B is read once, as it is packed: a workgroup, which is one subgroup, takes 4 * LANES columns of C, and an
// invocation walks along four rows of B. A load of 16 bytes brings it 8, 16 or 32 elements. Of A, each lane loads four values of a block
// of 32, and a shuffle hands out what all need.
//
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order, then times alpha: the bits of matmul/panel
// on what quantised/unpack makes of B.
//
// 0: A [m, k]
// 1: B [n, k], packed, see quantised/unpack
// 2: C [m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [m, n], or where the values before the activation go; else any buffer that
//    nothing else uses
// 5: params
enable subgroups;

/** Invocations of a subgroup. */
const LANES: u32 = 8u;
/** Rows of A computed at once. */
const ROWS: u32 = 4u;
/** Bits of an element of B: 4, 8 or 16. */
const B_BITS: u32 = 8u;
/** How many blocks of 32 elements share a scale; 0: those of a whole row. */
const SCALE_BLOCKS: u32 = 0u;
/** Add bias[j] to column j of the product. */
const BIAS: bool = false;
/** Add the product to what C holds. */
const ACCUMULATE: bool = false;
/** 0: none, 1: GELU, 2: SiLU of the finished value; what it was before goes to `extra`. */
const ACTIVATION: u32 = 0u;
/** Add what `extra` holds. Not together with an activation. */
const RESIDUAL: bool = false;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  alpha: f32,
  /** The word of B's first scale. */
  scales: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> extra: array<vec4f>;
@group(0) @binding(5) var<uniform> params: Params;

fn scale(i: u32) -> f32 {
  let word = params.scales + i;
  return bitcast<f32>(b[word / 4u][word % 4u]);
}

/** Element `i` of those that begin with these words, of four rows. */
fn element(words: vec4u, i: u32) -> vec4f {
  if (B_BITS == 16u) {
    return vec4f(
      unpack2x16float(words.x)[i % 2u],
      unpack2x16float(words.y)[i % 2u],
      unpack2x16float(words.z)[i % 2u],
      unpack2x16float(words.w)[i % 2u],
    );
  }
  return vec4f(extractBits(bitcast<vec4i>(words), i % (32u / B_BITS) * B_BITS, B_BITS));
}

fn erf(v: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-v * v));
}

/** As elementwise/unary computes them. */
fn activate(v: vec4f) -> vec4f {
  if (ACTIVATION == 1u) {
    return 0.5 * v * (1.0 + erf(v * 0.70710678118));
  }
  return v / (1.0 + exp(-v));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  // Columns are counted in fours. Lanes and rows past the edge compute what the last ones do, and store nothing.
  let columns = params.n / 4u;
  let column = group.x * LANES + lane;
  let first = min(column, columns - 1u) * 4u;
  let top = group.y * ROWS;
  let blocks = params.k / 32u;
  let b_row = params.k * B_BITS / 128u;

  var scales = vec4f(1.0);
  if (B_BITS < 16u && SCALE_BLOCKS == 0u) {
    scales = vec4f(scale(first), scale(first + 1u), scale(first + 2u), scale(first + 3u));
  }
  var sum = array<vec4f, ROWS>();
  for (var block = 0u; block < blocks; block++) {
    if (SCALE_BLOCKS > 0u) {
      let row = blocks / max(1u, SCALE_BLOCKS);
      let at = first * row + block / max(1u, SCALE_BLOCKS);
      scales = vec4f(scale(at), scale(at + row), scale(at + 2u * row), scale(at + 3u * row));
    }
    var a_part: array<vec4f, ROWS>;
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      a_part[i] = a[(min(top + i, params.m - 1u) * blocks + block) * 8u + lane];
    }
    // @unroll
    for (var q = 0u; q < B_BITS / 4u; q++) {
      let at = first * b_row + block * (B_BITS / 4u) + q;
      let b0 = b[at];
      let b1 = b[at + b_row];
      let b2 = b[at + 2u * b_row];
      let b3 = b[at + 3u * b_row];
      // @unroll
      for (var e = 0u; e < 128u / B_BITS; e++) {
        let word = e * B_BITS / 32u;
        var value = element(vec4u(b0[word], b1[word], b2[word], b3[word]), e);
        if (B_BITS < 16u) {
          value *= scales;
        }
        let k = q * (128u / B_BITS) + e;
        // @unroll
        for (var i = 0u; i < ROWS; i++) {
          sum[i] = fma(vec4f(subgroupShuffle(a_part[i][k % 4u], k / 4u)), value, sum[i]);
        }
      }
    }
  }

  // @unroll
  for (var i = 0u; i < ROWS; i++) {
    if (top + i < params.m && column < columns) {
      let at = (top + i) * columns + column;
      var value = params.alpha * sum[i];
      if (BIAS) {
        value += bias[column];
      }
      if (ACCUMULATE) {
        value += c[at];
      }
      if (RESIDUAL) {
        value += extra[at];
      }
      if (ACTIVATION != 0u) {
        extra[at] = value;
        value = activate(value);
      }
      c[at] = value;
    }
  }
}
