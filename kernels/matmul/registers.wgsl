// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ scale * hidden * up^T) (+ residual)), row-major f32, with registers only: for rasterisers
// that lack what matmul/panel needs. Workgroup memory costs there as much as any other and barriers cost more, so each invocation computes
// ROWS x 4 elements from what it loads itself.
//
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order, then times alpha: its bits depend on its
// row of op(A) and its column of op(B) alone. A low-rank change is a chain of its own: the bits of a second product that adds to C.
//
// 0: A [batch, m, k] or transposed [batch, k, m]
// 1: B [batch, k, n] or transposed [batch, n, k]; with B_BITS below 32 packed, see quantised/unpack
// 2: C [batch, m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [batch, m, n], or where the values before the activation go; else any
//    buffer that nothing else uses
// 5: params
// 6, 7: with LOW_RANK, hidden [batch, m, rank] and up [batch, n, rank]
/** Rows an invocation computes. */
const ROWS: u32 = 8u;
const GROUP_X: u32 = 8u;
const GROUP_Y: u32 = 1u;
const TRANSPOSE_A: bool = false;
const TRANSPOSE_B: bool = false;
/** Add bias[j] to column j of the product. */
const BIAS: bool = false;
/** Add the product to what C holds. */
const ACCUMULATE: bool = false;
/** 0: none, 1: GELU, 2: SiLU of the finished value; what it was before goes to `extra`. */
const ACTIVATION: u32 = 0u;
/** Add what `extra` holds. Not together with an activation. */
const RESIDUAL: bool = false;
/** Bits of an element of B. */
const B_BITS: u32 = 32u;
/** 1 with a low-rank change, else 0. Not together with ACCUMULATE. */
const LOW_RANK: u32 = 0u;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  alpha: f32,
  /** Elements of a row of A, and from one batch to the next (0: all use the same matrix). */
  a_row: u32,
  a_batch: u32,
  b_row: u32,
  b_batch: u32,
  /** The word of B's first scale, and how many elements share one. */
  b_scales: u32,
  b_group: u32,
  /** Of the low-rank change. */
  rank: u32,
  adapter_rows: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> extra: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> hidden: array<f32>;
@group(0) @binding(7) var<storage, read> up: array<f32>;

/** Element i of B. */
fn b_value(i: u32) -> f32 {
  let word = b[i / (32u / B_BITS)];
  if (B_BITS == 32u) {
    return bitcast<f32>(word);
  }
  if (B_BITS == 16u) {
    return unpack2x16float(word)[i % 2u];
  }
  let level = extractBits(bitcast<i32>(word), i % (32u / B_BITS) * B_BITS, B_BITS);
  return f32(level) * bitcast<f32>(b[params.b_scales + i / params.b_group]);
}

fn erf(v: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-v * v));
}

/** As elementwise/unary computes them. */
fn activate(v: f32) -> f32 {
  if (ACTIVATION == 1u) {
    return 0.5 * v * (1.0 + erf(v * 0.70710678118));
  }
  return v / (1.0 + exp(-v));
}

@compute @workgroup_size(GROUP_X, GROUP_Y)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y * ROWS;
  let column = id.x * 4u;
  if (row >= params.m || column >= params.n) {
    return;
  }
  // Rows and columns past the edge compute on what the last ones load, and are not stored.
  let last_row = params.m - 1u;
  let last_column = params.n - 1u;
  let columns = min(vec4u(column, column + 1u, column + 2u, column + 3u), vec4u(last_column));
  let a_start = id.z * params.a_batch;
  let b_start = id.z * params.b_batch;
  let a_stride = select(params.a_row, 1u, TRANSPOSE_A);
  let a_step = select(1u, params.a_row, TRANSPOSE_A);
  let b_at = b_start + columns * select(1u, params.b_row, TRANSPOSE_B);
  let b_step = select(params.b_row, 1u, TRANSPOSE_B);

  var sum = array<vec4f, ROWS>();
  for (var k = 0u; k < params.k; k++) {
    let at = b_at + k * b_step;
    let b_values = vec4f(b_value(at.x), b_value(at.y), b_value(at.z), b_value(at.w));
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      let value = a[a_start + min(row + i, last_row) * a_stride + k * a_step];
      sum[i] = fma(vec4f(value), b_values, sum[i]);
    }
  }

  var change = array<vec4f, ROWS>();
  // Written out only where there is a low-rank change, so that other products bind nothing for it.
  // @unroll
  for (var changing = 0u; changing < LOW_RANK; changing++) {
    for (var k = 0u; k < params.rank; k++) {
      let at = (id.z * params.n + columns) * params.rank + k;
      let b_values = vec4f(up[at.x], up[at.y], up[at.z], up[at.w]);
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        let value = hidden[(id.z * params.m + min(row + i, last_row)) * params.rank + k];
        change[i] = fma(vec4f(value), b_values, change[i]);
      }
    }
  }

  // Once for all rows: a load of its own for every element is most of what some compilers work on.
  var bias_values = vec4f();
  if (BIAS) {
    bias_values = vec4f(bias[columns.x], bias[columns.y], bias[columns.z], bias[columns.w]);
  }
  // @unroll
  for (var i = 0u; i < ROWS; i++) {
    // @unroll
    for (var j = 0u; j < 4u; j++) {
      if (row + i < params.m && column + j < params.n) {
        let at = (id.z * params.m + row + i) * params.n + column + j;
        var value = params.alpha * sum[i][j];
        if (BIAS) {
          value += bias_values[j];
        }
        if (ACCUMULATE) {
          value += c[at];
        }
        if (LOW_RANK > 0u) {
          value += params.scale * change[i][j];
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
}
