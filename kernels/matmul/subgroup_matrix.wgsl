// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ residual)), row-major f32, for GPUs with subgroup matrices (tensor cores): A and B are
// rounded to f16, sums are f32.
//
// A workgroup computes a tile of TILE_M x TILE_N, each of its subgroups TILE_M / 4 rows of it as a row of 16 x 16 matrices. Tiles of A and B
// are converted, and B unpacked, on their way into workgroup memory. Every element of C is one chain over k in steps of 16, in
// order (k padded with zeros): its bits depend on its row of op(A) and its column of op(B) alone, if the adapter multiplies
// every matrix the same way.
//
// Subgroups must have WORKGROUP / 4 invocations: 32.
// 0: A [batch, m, k] or transposed [batch, k, m]
// 1: B [batch, k, n] or transposed [batch, n, k]; with B_BITS below 32 packed, see quantised/unpack
// 2: C [batch, m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [batch, m, n], or where the values before the activation go; else any
//    buffer that nothing else uses
// 5: params
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

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

const WORKGROUP: u32 = 128u;
const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 32u;
/** Rows and columns of a matrix. */
const SIDE: u32 = 16u;

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
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> extra: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> a_tile: array<f16, TILE_M * TILE_K>;
var<workgroup> b_tile: array<f16, TILE_K * TILE_N>;
/** One finished matrix of each subgroup, on its way out. */
var<workgroup> out_tile: array<f32, 4u * SIDE * SIDE>;

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

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  let tile_row = group.y * TILE_M;
  let tile_column = group.x * TILE_N;
  let a_start = group.z * params.a_batch;
  let b_start = group.z * params.b_batch;

  var sum0 = subgroup_matrix_result<f32, 16, 16>();
  var sum1 = subgroup_matrix_result<f32, 16, 16>();
  var sum2 = subgroup_matrix_result<f32, 16, 16>();
  var sum3 = subgroup_matrix_result<f32, 16, 16>();
  for (var k = 0u; k < params.k; k += TILE_K) {
    for (var e = index; e < TILE_M * TILE_K; e += WORKGROUP) {
      let i = select(e / TILE_K, e % TILE_M, TRANSPOSE_A);
      let q = select(e % TILE_K, e / TILE_M, TRANSPOSE_A);
      let row = tile_row + i;
      let at = select(row * params.a_row + k + q, (k + q) * params.a_row + row, TRANSPOSE_A);
      var value = 0.0;
      if (row < params.m && k + q < params.k) {
        value = a[a_start + at];
      }
      a_tile[i * TILE_K + q] = f16(value);
    }
    for (var e = index; e < TILE_K * TILE_N; e += WORKGROUP) {
      let j = select(e % TILE_N, e / TILE_K, TRANSPOSE_B);
      let q = select(e / TILE_N, e % TILE_K, TRANSPOSE_B);
      let column = tile_column + j;
      let at = select((k + q) * params.b_row + column, column * params.b_row + k + q, TRANSPOSE_B);
      var value = 0.0;
      if (column < params.n && k + q < params.k) {
        value = b_value(b_start + at);
      }
      b_tile[q * TILE_N + j] = f16(value);
    }
    workgroupBarrier();

    for (var q = 0u; q < TILE_K; q += SIDE) {
      let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(
        &a_tile, subgroup * SIDE * TILE_K + q, TILE_K);
      let first = q * TILE_N;
      let right0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&b_tile, first, TILE_N);
      let right1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&b_tile, first + 16u, TILE_N);
      let right2 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&b_tile, first + 32u, TILE_N);
      let right3 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&b_tile, first + 48u, TILE_N);
      sum0 = subgroupMatrixMultiplyAccumulate(left, right0, sum0);
      sum1 = subgroupMatrixMultiplyAccumulate(left, right1, sum1);
      sum2 = subgroupMatrixMultiplyAccumulate(left, right2, sum2);
      sum3 = subgroupMatrixMultiplyAccumulate(left, right3, sum3);
    }
    workgroupBarrier();
  }

  // Matrices have no elements to reach: each goes through workgroup memory to what is done to its elements.
  for (var part = 0u; part < 4u; part++) {
    switch part {
      case 0u: { subgroupMatrixStore<row_major>(&out_tile, subgroup * SIDE * SIDE, sum0, SIDE); }
      case 1u: { subgroupMatrixStore<row_major>(&out_tile, subgroup * SIDE * SIDE, sum1, SIDE); }
      case 2u: { subgroupMatrixStore<row_major>(&out_tile, subgroup * SIDE * SIDE, sum2, SIDE); }
      default: { subgroupMatrixStore<row_major>(&out_tile, subgroup * SIDE * SIDE, sum3, SIDE); }
    }
    workgroupBarrier();
    for (var e = lane; e < SIDE * SIDE; e += WORKGROUP / 4u) {
      let row = tile_row + subgroup * SIDE + e / SIDE;
      let column = tile_column + part * SIDE + e % SIDE;
      if (row < params.m && column < params.n) {
        let at = (group.z * params.m + row) * params.n + column;
        var value = params.alpha * out_tile[subgroup * SIDE * SIDE + e];
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
    workgroupBarrier();
  }
}
