// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ residual)), row-major f32, for CPU rasterisers (lavapipe).
//
// Two things make it fast there. A load from a storage buffer is done lane by lane, a load from a read-only storage texture
// is one vector load: so both operands are read as texture forms, the same bytes as in their buffer, 2^FORM_BITS texels a
// row. And a value that all lanes need, an element of A, is loaded by one lane and handed out by a subgroup operation,
// which costs one broadcast instruction. The marked loops must be unrolled: accumulators that live across a real loop are
// blended with a mask in every round.
//
// A workgroup is one subgroup; it computes TILE_ROWS rows of 4 * LANES columns. Every element of C is one chain of
// multiply-adds over k = 0, 1, 2, ... in order, then times alpha: its bits depend on its row of op(A) and its column of op(B) alone.
//
// The rows of A and B as stored must fill whole texels (matmul/pad sees to it).
// 0: texture form of A, [batch, m, k] or transposed [batch, k, m]
// 1: texture form of B, [batch, k, n] or transposed [batch, n, k]
// 2: C [batch, m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [batch, m, n], or where the values before the activation go; else any
//    buffer that nothing else uses
// 5: params
enable subgroups;
requires readonly_and_readwrite_storage_textures;

/** Invocations of a subgroup. */
const LANES: u32 = 8u;
const TILE_ROWS: u32 = 16u;
/** k is no multiple of K_STEP: the last round takes zeros for what is past it, which changes no sum. */
const RAGGED: bool = false;
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
const FORM_BITS: u32 = 10u;

/** How much of k one round takes: what the lanes hold of a row of A, four values each. */
const K_STEP: u32 = 4u * LANES;
/** How many rows of op(B) are held in registers at once. */
const K_BLOCK: u32 = 8u;
const COLUMNS: u32 = 4u * LANES;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  alpha: f32,
  /** Texels of a row of A, and from one batch to the next (0: all use the same matrix). */
  a_row: u32,
  a_batch: u32,
  b_row: u32,
  b_batch: u32,
}

@group(0) @binding(0) var a_form: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_form: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> extra: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

/** Where a texel of the flat tensor lies in its texture form. */
fn place(texel: u32) -> vec2u {
  return vec2u(texel & ((1u << FORM_BITS) - 1u), texel >> FORM_BITS);
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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row = group.y * TILE_ROWS;
  let column = group.x * COLUMNS;
  let a_start = group.z * params.a_batch;
  let b_start = group.z * params.b_batch;

  var sum: array<vec4f, TILE_ROWS>;
  for (var k = 0u; k < params.k; k += K_STEP) {
    // The block of A. Plain: lane l holds k = 4 l to 4 l + 3 of a row. Transposed: lane l holds four rows for k = l.
    var a: array<vec4f, TILE_ROWS>;
    if (TRANSPOSE_A) {
      let at = a_start + (k + lane) * params.a_row + row / 4u;
      // @unroll
      for (var q = 0u; q < K_STEP / LANES; q++) {
        // @unroll
        for (var i = 0u; i < TILE_ROWS / 4u; i++) {
          var texel = textureLoad(a_form, place(at + q * LANES * params.a_row + i));
          if (RAGGED) {
            texel = select(vec4f(0.0), texel, k + q * LANES + lane < params.k);
          }
          a[q * (TILE_ROWS / 4u) + i] = texel;
        }
      }
    } else {
      let at = a_start + row * params.a_row + k / 4u + lane;
      // @unroll
      for (var i = 0u; i < TILE_ROWS; i++) {
        var texel = textureLoad(a_form, place(at + i * params.a_row));
        if (RAGGED) {
          texel = select(vec4f(0.0), texel, vec4u(0u, 1u, 2u, 3u) + (k + 4u * lane) < vec4u(params.k));
        }
        a[i] = texel;
      }
    }

    // @unroll
    for (var block = 0u; block < K_STEP / K_BLOCK; block++) {
      // Some rows of op(B), four columns a lane: neighbours when B is plain, LANES apart when it is transposed.
      var b: array<vec4f, K_BLOCK>;
      if (TRANSPOSE_B) {
        let at = b_start + (column + lane) * params.b_row + k / 4u + block * (K_BLOCK / 4u);
        // @unroll
        for (var q = 0u; q < K_BLOCK / 4u; q++) {
          let b0 = textureLoad(b_form, place(at + q));
          let b1 = textureLoad(b_form, place(at + q + LANES * params.b_row));
          let b2 = textureLoad(b_form, place(at + q + 2u * LANES * params.b_row));
          let b3 = textureLoad(b_form, place(at + q + 3u * LANES * params.b_row));
          b[q * 4u] = vec4f(b0.x, b1.x, b2.x, b3.x);
          b[q * 4u + 1u] = vec4f(b0.y, b1.y, b2.y, b3.y);
          b[q * 4u + 2u] = vec4f(b0.z, b1.z, b2.z, b3.z);
          b[q * 4u + 3u] = vec4f(b0.w, b1.w, b2.w, b3.w);
        }
      } else {
        let at = b_start + (k + block * K_BLOCK) * params.b_row + column / 4u + lane;
        // @unroll
        for (var q = 0u; q < K_BLOCK; q++) {
          b[q] = textureLoad(b_form, place(at + q * params.b_row));
        }
      }
      if (RAGGED) {
        // @unroll
        for (var q = 0u; q < K_BLOCK; q++) {
          b[q] = select(vec4f(0.0), b[q], k + block * K_BLOCK + q < params.k);
        }
      }

      // One row of C over the whole block before the next: few accumulators are alive at a time.
      // @unroll
      for (var i = 0u; i < TILE_ROWS; i++) {
        // @unroll
        for (var q = 0u; q < K_BLOCK; q++) {
          if (TRANSPOSE_A) {
            let value = a[(block * K_BLOCK + q) / LANES * (TILE_ROWS / 4u) + i / 4u][i % 4u];
            sum[i] = fma(vec4f(subgroupShuffle(value, (block * K_BLOCK + q) % LANES)), b[q], sum[i]);
          } else {
            let value = a[i][q % 4u];
            sum[i] = fma(vec4f(subgroupShuffle(value, (block * K_BLOCK + q) / 4u)), b[q], sum[i]);
          }
        }
      }
    }
  }

  let first = column + select(4u * lane, lane, TRANSPOSE_B);
  let stride = select(1u, LANES, TRANSPOSE_B);
  // @unroll
  for (var i = 0u; i < TILE_ROWS; i++) {
    if (row + i < params.m) {
      let at = (group.z * params.m + row + i) * params.n + first;
      // @unroll
      for (var j = 0u; j < 4u; j++) {
        if (first + j * stride < params.n) {
          var value = params.alpha * sum[i][j];
          if (BIAS) {
            value += bias[first + j * stride];
          }
          if (ACCUMULATE) {
            value += c[at + j * stride];
          }
          if (RESIDUAL) {
            value += extra[at + j * stride];
          }
          if (ACTIVATION != 0u) {
            extra[at + j * stride] = value;
            value = activate(value);
          }
          c[at + j * stride] = value;
        }
      }
    }
  }
}
