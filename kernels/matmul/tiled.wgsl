// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ scale * hidden * up^T) (+ residual)), row-major f32, for GPUs: workgroup memory, no
// other feature.
//
// A workgroup computes a tile of TILE_M x TILE_N; each invocation keeps THREAD_M x THREAD_N of it in registers, so that an
// element brought into workgroup memory is used THREAD_M or THREAD_N times per read.
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order (k padded with zeros to TILE_K), then times
// alpha: its bits depend on its row of op(A) and its column of op(B) alone, not on the tile sizes. A low-rank change is a chain of
// its own, in the same order: the bits of a second product that adds to C. Each of its adapters has as many rows of the batch's only
// product; a tile goes through those that have some of its rows.
//
// 0: A [batch, m, k] or transposed [batch, k, m]
// 1: B [batch, k, n] or transposed [batch, n, k]; with B_BITS below 32 packed, see quantised/unpack
// 2: C [batch, m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [batch, m, n], or where the values before the activation go; else any
//    buffer that nothing else uses
// 5: params
// 6, 7: with LOW_RANK, hidden [m, rank] and up [adapters, n, rank]
const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;
const THREAD_M: u32 = 4u;
const THREAD_N: u32 = 4u;
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
/** 1 with a low-rank change, else 0. Not together with ACCUMULATE or parts. */
const LOW_RANK: u32 = 0u;

const GROUP_X: u32 = TILE_N / THREAD_N;
const GROUP_Y: u32 = TILE_M / THREAD_M;
const INVOCATIONS: u32 = GROUP_X * GROUP_Y;

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
  /** Of the low-rank change; how many rows each adapter has. */
  rank: u32,
  adapter_rows: u32,
  scale: f32,
  /** How many parts k is cut into, and how deep each is; then C is [batch, parts, m, n], for matmul/combine to add up. */
  parts: u32,
  part_depth: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> extra: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> hidden: array<f32>;
@group(0) @binding(7) var<storage, read> up: array<f32>;

/** Tiles with k as the slow axis: what a round of the inner loop reads lies together. */
var<workgroup> a_tile: array<f32, TILE_K * TILE_M>;
var<workgroup> b_tile: array<f32, TILE_K * TILE_N>;

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
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let tile_row = group.y * TILE_M;
  let tile_column = group.x * TILE_N;
  let a_start = group.z / params.parts * params.a_batch;
  let b_start = group.z / params.parts * params.b_batch;
  let k_begin = group.z % params.parts * params.part_depth;
  let k_end = min(params.k, k_begin + params.part_depth);

  var sum: array<array<f32, THREAD_N>, THREAD_M>;
  for (var k = k_begin; k < k_end; k += TILE_K) {
    // Neighbouring invocations load neighbouring elements, whichever way the operand lies.
    for (var e = index; e < TILE_K * TILE_M; e += INVOCATIONS) {
      let i = select(e / TILE_K, e % TILE_M, TRANSPOSE_A);
      let q = select(e % TILE_K, e / TILE_M, TRANSPOSE_A);
      let row = tile_row + i;
      let at = select(row * params.a_row + k + q, (k + q) * params.a_row + row, TRANSPOSE_A);
      var value = 0.0;
      if (row < params.m && k + q < k_end) {
        value = a[a_start + at];
      }
      a_tile[q * TILE_M + i] = value;
    }
    for (var e = index; e < TILE_K * TILE_N; e += INVOCATIONS) {
      let j = select(e % TILE_N, e / TILE_K, TRANSPOSE_B);
      let q = select(e / TILE_N, e % TILE_K, TRANSPOSE_B);
      let column = tile_column + j;
      let at = select((k + q) * params.b_row + column, column * params.b_row + k + q, TRANSPOSE_B);
      var value = 0.0;
      if (column < params.n && k + q < k_end) {
        value = b_value(b_start + at);
      }
      b_tile[q * TILE_N + j] = value;
    }
    workgroupBarrier();

    for (var q = 0u; q < TILE_K; q++) {
      var b_values: array<f32, THREAD_N>;
      // @unroll
      for (var j = 0u; j < THREAD_N; j++) {
        b_values[j] = b_tile[q * TILE_N + local.x * THREAD_N + j];
      }
      // @unroll
      for (var i = 0u; i < THREAD_M; i++) {
        let a_value = a_tile[q * TILE_M + local.y * THREAD_M + i];
        // @unroll
        for (var j = 0u; j < THREAD_N; j++) {
          sum[i][j] = fma(a_value, b_values[j], sum[i][j]);
        }
      }
    }
    workgroupBarrier();
  }

  var change: array<array<f32, THREAD_N>, THREAD_M>;
  // Written out only where there is a low-rank change, so that other products bind nothing for it.
  // @unroll
  for (var changing = 0u; changing < LOW_RANK; changing++) {
    let last = (min(tile_row + TILE_M, params.m) - 1u) / params.adapter_rows;
    for (var adapter = tile_row / params.adapter_rows; adapter <= last; adapter++) {
      for (var k = 0u; k < params.rank; k += TILE_K) {
        for (var e = index; e < TILE_K * TILE_M; e += INVOCATIONS) {
          let i = e / TILE_K;
          let q = e % TILE_K;
          let row = tile_row + i;
          var value = 0.0;
          if (row < params.m && k + q < params.rank) {
            value = hidden[row * params.rank + k + q];
          }
          a_tile[q * TILE_M + i] = value;
        }
        for (var e = index; e < TILE_K * TILE_N; e += INVOCATIONS) {
          let j = e / TILE_K;
          let q = e % TILE_K;
          let column = tile_column + j;
          var value = 0.0;
          if (column < params.n && k + q < params.rank) {
            value = up[(adapter * params.n + column) * params.rank + k + q];
          }
          b_tile[q * TILE_N + j] = value;
        }
        workgroupBarrier();

        var is_own: array<bool, THREAD_M>;
        // @unroll
        for (var i = 0u; i < THREAD_M; i++) {
          is_own[i] = (tile_row + local.y * THREAD_M + i) / params.adapter_rows == adapter;
        }
        for (var q = 0u; q < TILE_K; q++) {
          var b_values: array<f32, THREAD_N>;
          // @unroll
          for (var j = 0u; j < THREAD_N; j++) {
            b_values[j] = b_tile[q * TILE_N + local.x * THREAD_N + j];
          }
          // @unroll
          for (var i = 0u; i < THREAD_M; i++) {
            let a_value = a_tile[q * TILE_M + local.y * THREAD_M + i];
            if (is_own[i]) {
              // @unroll
              for (var j = 0u; j < THREAD_N; j++) {
                change[i][j] = fma(a_value, b_values[j], change[i][j]);
              }
            }
          }
        }
        workgroupBarrier();
      }
    }
  }

  // Once for all rows: a load of its own for every element is most of what some compilers work on.
  var bias_values: array<f32, THREAD_N>;
  if (BIAS) {
    // @unroll
    for (var j = 0u; j < THREAD_N; j++) {
      bias_values[j] = bias[min(tile_column + local.x * THREAD_N + j, params.n - 1u)];
    }
  }
  // @unroll
  for (var i = 0u; i < THREAD_M; i++) {
    let row = tile_row + local.y * THREAD_M + i;
    // @unroll
    for (var j = 0u; j < THREAD_N; j++) {
      let column = tile_column + local.x * THREAD_N + j;
      if (row < params.m && column < params.n) {
        let at = (group.z * params.m + row) * params.n + column;
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
