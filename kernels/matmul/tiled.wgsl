// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ scale * hidden * up^T) (+ residual)), row-major f32, for GPUs: workgroup memory, no
// other feature.
//
// A workgroup computes a tile of TILE_M x TILE_N; each invocation keeps THREAD_M x THREAD_N of it in registers, as blocks of 4 x 4, so
// that four elements brought into workgroup memory are read at once and used THREAD_M or THREAD_N times. The blocks of neighbouring
// invocations are neighbours, and a row of a tile has a vec4 to spare, so that few reads and writes at once want the same bank.
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order (past its end come zeros), then times
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
const TILE_K: u32 = 8u;
/** Multiples of 4. */
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
/** Of a tile, in vec4: a row and where the next one begins. */
const A_FOURS: u32 = TILE_M / 4u;
const B_FOURS: u32 = TILE_N / 4u;
const A_ROW: u32 = A_FOURS + 1u;
const B_ROW: u32 = B_FOURS + 1u;
/** Blocks of an invocation, GROUP_Y or GROUP_X of them apart. */
const BLOCKS_M: u32 = THREAD_M / 4u;
const BLOCKS_N: u32 = THREAD_N / 4u;

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
var<workgroup> a_tile: array<vec4f, TILE_K * A_ROW>;
var<workgroup> b_tile: array<vec4f, TILE_K * B_ROW>;

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

/** Element (row, k) of op(A), zero past the edges. */
fn a_at(start: u32, row: u32, k: u32, k_end: u32) -> f32 {
  if (row >= params.m || k >= k_end) {
    return 0.0;
  }
  return a[start + select(row * params.a_row + k, k * params.a_row + row, TRANSPOSE_A)];
}

/** Element (k, column) of op(B), zero past the edges. */
fn b_at(start: u32, k: u32, column: u32, k_end: u32) -> f32 {
  if (column >= params.n || k >= k_end) {
    return 0.0;
  }
  return b_value(start + select(k * params.b_row + column, column * params.b_row + k, TRANSPOSE_B));
}

fn hidden_at(row: u32, k: u32) -> f32 {
  if (row >= params.m || k >= params.rank) {
    return 0.0;
  }
  return hidden[row * params.rank + k];
}

fn up_at(adapter: u32, column: u32, k: u32) -> f32 {
  if (column >= params.n || k >= params.rank) {
    return 0.0;
  }
  return up[(adapter * params.n + column) * params.rank + k];
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

  var sum: array<array<vec4f, BLOCKS_N>, THREAD_M>;
  for (var k = k_begin; k < k_end; k += TILE_K) {
    // Neighbouring invocations load neighbouring elements, whichever way the operand lies.
    for (var e = index; e < TILE_K * A_FOURS; e += INVOCATIONS) {
      let i = select(e / TILE_K, e % A_FOURS, TRANSPOSE_A);
      let q = select(e % TILE_K, e / A_FOURS, TRANSPOSE_A);
      var four: vec4f;
      for (var part = 0u; part < 4u; part++) {
        four[part] = a_at(a_start, tile_row + 4u * i + part, k + q, k_end);
      }
      a_tile[q * A_ROW + i] = four;
    }
    for (var e = index; e < TILE_K * B_FOURS; e += INVOCATIONS) {
      let j = select(e % B_FOURS, e / TILE_K, TRANSPOSE_B);
      let q = select(e / B_FOURS, e % TILE_K, TRANSPOSE_B);
      var four: vec4f;
      for (var part = 0u; part < 4u; part++) {
        four[part] = b_at(b_start, k + q, tile_column + 4u * j + part, k_end);
      }
      b_tile[q * B_ROW + j] = four;
    }
    workgroupBarrier();

    for (var q = 0u; q < TILE_K; q++) {
      var b_values: array<vec4f, BLOCKS_N>;
      // @unroll
      for (var j = 0u; j < BLOCKS_N; j++) {
        b_values[j] = b_tile[q * B_ROW + j * GROUP_X + local.x];
      }
      // @unroll
      for (var block = 0u; block < BLOCKS_M; block++) {
        let a_values = a_tile[q * A_ROW + block * GROUP_Y + local.y];
        // @unroll
        for (var i = 0u; i < 4u; i++) {
          // @unroll
          for (var j = 0u; j < BLOCKS_N; j++) {
            sum[4u * block + i][j] = fma(vec4f(a_values[i]), b_values[j], sum[4u * block + i][j]);
          }
        }
      }
    }
    workgroupBarrier();
  }

  var change: array<array<vec4f, BLOCKS_N>, THREAD_M>;
  // Written out only where there is a low-rank change, so that other products bind nothing for it.
  // @unroll
  for (var changing = 0u; changing < LOW_RANK; changing++) {
    let last = (min(tile_row + TILE_M, params.m) - 1u) / params.adapter_rows;
    for (var adapter = tile_row / params.adapter_rows; adapter <= last; adapter++) {
      for (var k = 0u; k < params.rank; k += TILE_K) {
        for (var e = index; e < TILE_K * A_FOURS; e += INVOCATIONS) {
          let i = e / TILE_K;
          let q = e % TILE_K;
          var four: vec4f;
          for (var part = 0u; part < 4u; part++) {
            four[part] = hidden_at(tile_row + 4u * i + part, k + q);
          }
          a_tile[q * A_ROW + i] = four;
        }
        for (var e = index; e < TILE_K * B_FOURS; e += INVOCATIONS) {
          let j = e / TILE_K;
          let q = e % TILE_K;
          var four: vec4f;
          for (var part = 0u; part < 4u; part++) {
            four[part] = up_at(adapter, tile_column + 4u * j + part, k + q);
          }
          b_tile[q * B_ROW + j] = four;
        }
        workgroupBarrier();

        for (var q = 0u; q < TILE_K; q++) {
          var b_values: array<vec4f, BLOCKS_N>;
          // @unroll
          for (var j = 0u; j < BLOCKS_N; j++) {
            b_values[j] = b_tile[q * B_ROW + j * GROUP_X + local.x];
          }
          // @unroll
          for (var block = 0u; block < BLOCKS_M; block++) {
            let a_values = a_tile[q * A_ROW + block * GROUP_Y + local.y];
            let row = tile_row + 4u * (block * GROUP_Y + local.y);
            // @unroll
            for (var i = 0u; i < 4u; i++) {
              if ((row + i) / params.adapter_rows == adapter) {
                // @unroll
                for (var j = 0u; j < BLOCKS_N; j++) {
                  change[4u * block + i][j] = fma(vec4f(a_values[i]), b_values[j], change[4u * block + i][j]);
                }
              }
            }
          }
        }
        workgroupBarrier();
      }
    }
  }

  // @unroll
  for (var j = 0u; j < BLOCKS_N; j++) {
    let column = tile_column + 4u * (j * GROUP_X + local.x);
    // Once for all rows: a load of its own for every element is most of what some compilers work on.
    var bias_values = vec4f(0.0);
    if (BIAS) {
      // @unroll
      for (var part = 0u; part < 4u; part++) {
        bias_values[part] = bias[min(column + part, params.n - 1u)];
      }
    }
    // @unroll
    for (var i = 0u; i < THREAD_M; i++) {
      let row = tile_row + 4u * (i / 4u * GROUP_Y + local.y) + i % 4u;
      // @unroll
      for (var part = 0u; part < 4u; part++) {
        if (row < params.m && column + part < params.n) {
          let at = (group.z * params.m + row) * params.n + column + part;
          var value = params.alpha * sum[i][j][part];
          if (BIAS) {
            value += bias_values[part];
          }
          if (ACCUMULATE) {
            value += c[at];
          }
          if (LOW_RANK > 0u) {
            value += params.scale * change[i][j][part];
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
}
