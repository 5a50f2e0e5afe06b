// C = f(alpha * op(A) * op(B) (+ bias) (+ C) (+ scale * hidden * up^T) (+ residual)), row-major f32, for CPU rasterisers (lavapipe).
// n is a multiple of 4.
//
// There a load costs far more than arithmetic: one of a storage texture takes about 100 instructions for 8 lanes of four values
// (and a load of a storage buffer, done lane by lane under a mask, twice that), a multiply-add takes two. So a workgroup, which
// is one subgroup, keeps a panel of op(B), DEPTH rows of 4 * SPAN columns, in registers (and what spills of them), and lets the
// rows of A pass by: each value of B is loaded once a workgroup, each value of A once a panel. A value of A that all lanes
// need is handed out by a shuffle, one instruction. The loop over rows carries no accumulator, which a real loop would
// blend with a mask in every round, and its body fits the instruction cache. When k is deeper than a panel, sums wait in
// workgroup memory, which costs half of what waiting in C would.
//
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order, then times alpha: its bits depend on its
// row of op(A) and its column of op(B) alone, and are those of matmul/broadcast. A low-rank change is a chain of its own over
// one more panel, up^T, while the sums of the base wait: the bits of a second product that adds to C.
//
// The rows of A and B as stored must fill whole texels (matmul/pad sees to it).
// 0: texture form of A, [batch, m, k] or transposed [batch, k, m]
// 1: texture form of B, [batch, k, n] or transposed [batch, n, k]
// 2: C [batch, m, n]
// 3: bias [n]; without BIAS, any other buffer in its place
// 4: what the constants make of it: the residual [batch, m, n], or where the values before the activation go; else any
//    buffer that nothing else uses
// 5: params
// 6, 7: with RANK, the texture forms of hidden [batch, m, RANK] and up [batch, n, RANK]
enable subgroups;
requires readonly_and_readwrite_storage_textures;

/** Invocations of a subgroup. */
const LANES: u32 = 8u;
/** Lanes side by side in a row of C, four columns each; the others take the next rows. */
const SPAN: u32 = 8u;
/** Rows a lane computes at once: their sums fit the registers. */
const ROWS: u32 = 4u;
/** Rows of op(B) in the panel; a multiple of 4 unless it is all of k. */
const DEPTH: u32 = 64u;
/** k modulo DEPTH. */
const K_REST: u32 = 0u;
/** Whether k is deeper than the panel; then a workgroup takes TILE_ROWS rows at most. */
const DEEP: bool = false;
const TILE_ROWS: u32 = 1u;
/** The rank of the low-rank change, 0 without one; with one, TILE_ROWS holds as it does with DEEP. Not together with ACCUMULATE. */
const RANK: u32 = 0u;
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
/** Texture forms have 2^FORM_BITS texels a row. */
const FORM_BITS: u32 = 10u;

/** How much of k one texel of A in every lane of a row covers. Transposed, a texel covers four rows instead. */
const REACH: u32 = 4u * SPAN;
/** 1 with a low-rank change, else 0. */
const CHANGES: u32 = (RANK + 1023u) / 1024u;
/** Texels of a row of hidden and up. */
const RANK_TEXELS: u32 = (RANK + 3u) / 4u;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  alpha: f32,
  /** Where the matrices lie, in texels. */
  a: Placement,
  b: Placement,
  c: Placement,
  /** Matrices of a batch row: its heads. */
  heads: u32,
  /** Rows of a workgroup. */
  rows: u32,
  /** Of the low-rank change. */
  scale: f32,
  /** 0, which the compiler does not know. */
  zero: f32,
}

/** Where the first matrix begins, and from one row, head and batch row to the next (0: all use the same). */
struct Placement {
  start: u32,
  row: u32,
  head: u32,
  batch: u32,
}

@group(0) @binding(0) var a_form: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_form: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> extra: array<vec4f>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var hidden_form: texture_storage_2d<rgba32float, read>;
@group(0) @binding(7) var up_form: texture_storage_2d<rgba32float, read>;

/** Sums of the panels so far; with a low-rank change, in the end those of the whole product. */
var<workgroup> partial: array<vec4f, TILE_ROWS * SPAN>;

/** Where a matrix of the batch begins. */
fn origin(place: Placement, matrix: u32) -> u32 {
  return place.start + matrix / params.heads * place.batch + matrix % params.heads * place.head;
}

/** Where a texel of the flat tensor lies in its texture form. */
fn place(texel: u32) -> vec2u {
  return vec2u(texel & ((1u << FORM_BITS) - 1u), texel >> FORM_BITS);
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

/** What is done to four elements of a row of C when their sums are complete. */
fn finish(sum: vec4f, change: vec4f, at: u32, column: u32) {
  // To the first term of a chain compilers add no constant 0: where all terms are -0 they would leave the sign that other kernels, whose loops
  // begin with a 0, do not.
  var value = params.alpha * (sum + params.zero);
  if (BIAS) {
    value += bias[column];
  }
  if (ACCUMULATE) {
    value += c[at];
  }
  if (RANK > 0u) {
    value += params.scale * (change + params.zero);
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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let across = lane % SPAN;
  let down = lane / SPAN;
  // Columns are counted in texels.
  let column = group.x * SPAN + across;
  let columns = params.n / 4u;
  let begin = group.y * params.rows;
  let end = min(params.m, begin + params.rows);
  let a_start = origin(params.a, group.z);
  let b_start = origin(params.b, group.z);
  let c_start = origin(params.c, group.z);

  // Part 0: the whole panels, DEPTH deep. Part 1: what is left of k, K_REST deep.
  // @unroll
  for (var part = 0u; part < 1u + (K_REST + DEPTH - 1u) / DEPTH; part++) {
    let k_end = params.k - (1u - part) * K_REST;
    for (var k_begin = part * (params.k - K_REST); k_begin < k_end; k_begin += DEPTH) {
      var b: array<vec4f, DEPTH + 3u>;
      if (TRANSPOSE_B) {
        let at = b_start + column * 4u * params.b.row + k_begin / 4u;
        // @unroll
        for (var q = 0u; q < (DEPTH * (1u - part) + K_REST * part + 3u) / 4u; q++) {
          let b0 = textureLoad(b_form, place(at + q));
          let b1 = textureLoad(b_form, place(at + q + params.b.row));
          let b2 = textureLoad(b_form, place(at + q + 2u * params.b.row));
          let b3 = textureLoad(b_form, place(at + q + 3u * params.b.row));
          b[q * 4u] = vec4f(b0.x, b1.x, b2.x, b3.x);
          b[q * 4u + 1u] = vec4f(b0.y, b1.y, b2.y, b3.y);
          b[q * 4u + 2u] = vec4f(b0.z, b1.z, b2.z, b3.z);
          b[q * 4u + 3u] = vec4f(b0.w, b1.w, b2.w, b3.w);
        }
      } else {
        let at = b_start + k_begin * params.b.row + column;
        // @unroll
        for (var q = 0u; q < DEPTH * (1u - part) + K_REST * part; q++) {
          b[q] = textureLoad(b_form, place(at + q * params.b.row));
        }
      }

      for (var top = begin; top < end; top += ROWS * (LANES / SPAN)) {
        let row = top + down * ROWS;
        var a: array<vec4f, ROWS * (DEPTH / REACH + 1u)>;
        if (TRANSPOSE_A) {
          let at = a_start + (k_begin + across) * params.a.row + row / 4u;
          // @unroll
          for (var t = 0u; t < (DEPTH * (1u - part) + K_REST * part + SPAN - 1u) / SPAN; t++) {
            // @unroll
            for (var i = 0u; i < ROWS / 4u; i++) {
              a[t * (ROWS / 4u) + i] = textureLoad(a_form, place(at + t * SPAN * params.a.row + i));
            }
          }
        } else {
          let at = a_start + row * params.a.row + k_begin / 4u + across;
          // @unroll
          for (var t = 0u; t < (DEPTH * (1u - part) + K_REST * part + REACH - 1u) / REACH; t++) {
            // @unroll
            for (var i = 0u; i < ROWS; i++) {
              a[t * ROWS + i] = textureLoad(a_form, place(at + i * params.a.row + t * SPAN));
            }
          }
        }

        // The initialiser matters: without it Dawn's compiler keeps the sums of the round before.
        var sum = array<vec4f, ROWS>();
        let waiting = (row - begin) * SPAN + across;
        if (DEEP) {
          if (k_begin > 0u) {
            // @unroll
            for (var i = 0u; i < ROWS; i++) {
              sum[i] = partial[waiting + i * SPAN];
            }
          }
        }
        // @unroll
        for (var k = 0u; k < DEPTH * (1u - part) + K_REST * part; k++) {
          // @unroll
          for (var i = 0u; i < ROWS; i++) {
            var value = 0.0;
            if (TRANSPOSE_A) {
              value = subgroupShuffle(a[k / SPAN * (ROWS / 4u) + i / 4u][i % 4u], down * SPAN + k % SPAN);
            } else {
              value = subgroupShuffle(a[k / REACH * ROWS + i][k % 4u], down * SPAN + k % REACH / 4u);
            }
            sum[i] = fma(vec4f(value), b[k], sum[i]);
          }
        }

        if (RANK > 0u || (DEEP && k_begin + DEPTH * (1u - part) + K_REST * part < params.k)) {
          // @unroll
          for (var i = 0u; i < ROWS; i++) {
            partial[waiting + i * SPAN] = sum[i];
          }
        } else {
          // @unroll
          for (var i = 0u; i < ROWS; i++) {
            if (row + i < end && column < columns) {
              finish(sum[i], vec4f(), c_start + (row + i) * params.c.row + column, column);
            }
          }
        }
      }
    }
  }

  // Written out only where there is a low-rank change, so that other products bind nothing for it.
  // @unroll
  for (var changing = 0u; changing < CHANGES; changing++) {
    var b: array<vec4f, RANK + 3u>;
    let up_at = (group.z * params.n + column * 4u) * RANK_TEXELS;
    // @unroll
    for (var q = 0u; q < RANK_TEXELS; q++) {
      let b0 = textureLoad(up_form, place(up_at + q));
      let b1 = textureLoad(up_form, place(up_at + q + RANK_TEXELS));
      let b2 = textureLoad(up_form, place(up_at + q + 2u * RANK_TEXELS));
      let b3 = textureLoad(up_form, place(up_at + q + 3u * RANK_TEXELS));
      b[q * 4u] = vec4f(b0.x, b1.x, b2.x, b3.x);
      b[q * 4u + 1u] = vec4f(b0.y, b1.y, b2.y, b3.y);
      b[q * 4u + 2u] = vec4f(b0.z, b1.z, b2.z, b3.z);
      b[q * 4u + 3u] = vec4f(b0.w, b1.w, b2.w, b3.w);
    }
    for (var top = begin; top < end; top += ROWS * (LANES / SPAN)) {
      let row = top + down * ROWS;
      let hidden_at = (group.z * params.m + row) * RANK_TEXELS + across;
      var a: array<vec4f, ROWS * (RANK / REACH + 1u)>;
      // @unroll
      for (var t = 0u; t < (RANK + REACH - 1u) / REACH; t++) {
        // @unroll
        for (var i = 0u; i < ROWS; i++) {
          a[t * ROWS + i] = textureLoad(hidden_form, place(hidden_at + i * RANK_TEXELS + t * SPAN));
        }
      }
      var change = array<vec4f, ROWS>();
      // @unroll
      for (var k = 0u; k < RANK; k++) {
        // @unroll
        for (var i = 0u; i < ROWS; i++) {
          let value = subgroupShuffle(a[k / REACH * ROWS + i][k % 4u], down * SPAN + k % REACH / 4u);
          change[i] = fma(vec4f(value), b[k], change[i]);
        }
      }
      let waiting = (row - begin) * SPAN + across;
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        if (row + i < end && column < columns) {
          let at = c_start + (row + i) * params.c.row + column;
          finish(partial[waiting + i * SPAN], change[i], at, column);
        }
      }
    }
  }
}
