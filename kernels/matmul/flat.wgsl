// C = alpha * A^T * B (+ C), row-major f32, for CPU rasterisers (lavapipe): ROWS rows of many columns, as the gradients of LoRA's
// matrices are; with K_LAST, C = alpha * A * B^T (+ C), as the hidden values of LoRA are, transposed.
//
// All of C is in flight: a subgroup has the sums of all rows for 4 * LANES columns, and walks along k once. So each value of
// B is loaded once. One of a texture form would take half the time, but the form a copy, which costs more than it spares
// where values are used for so few rows. Of A each lane loads some, and a shuffle hands out what all need. STEP is short
// because loads of a buffer are long code, which must fit the caches of decoded instructions.
//
// Every element of C is one chain of multiply-adds over k = 0, 1, 2, ... in order, then times alpha: the bits of matmul/panel.
//
// 0: A [batch, k, ROWS]    1: B [batch, k, n]    2: C [batch, ROWS, n]; TURNED: [batch, n, ROWS]    3: params
// K_LAST: 0: A [batch, ROWS, k]    1: B [batch, n, k]
enable subgroups;

/** Invocations of a subgroup. */
const LANES: u32 = 8u;
/** A multiple of 4. */
const ROWS: u32 = 16u;
/** C holds the transpose of the product. */
const TURNED: bool = false;
/** Add the product to what C holds. */
const ACCUMULATE: bool = false;
/** 1: k, a multiple of STEP, is the last axis of A and B; only together with TURNED. 0: it is the first, and n is a multiple of 4. */
const K_LAST: u32 = 0u;
/** How much of k one round takes: the elements of a vec4. */
const STEP: u32 = 4u;

/** Fours of rows: what a row of A has. */
const QUADS: u32 = ROWS / 4u;

struct Params {
  n: u32,
  k: u32,
  alpha: f32,
  /** How often a workgroup takes 4 * LANES columns. */
  turns: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn store(at: u32, sum: vec4f) {
  let value = params.alpha * sum;
  if (ACCUMULATE) {
    c[at] = value + c[at];
  } else {
    c[at] = value;
  }
}

/** Columns are counted in fours. Lanes past the edge compute what the last one does, and store nothing. */
fn compute(batch: u32, column: u32, lane: u32) {
  let columns = (params.n + 3u) / 4u;
  let a_start = batch * params.k * QUADS;
  // Where what this lane loads of B begins, in vec4: its columns at k = 0, or, with K_LAST, each of the four.
  let b_start = batch * params.k * columns + min(column, columns - 1u);
  let b_columns = min(vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u), vec4u(params.n - 1u));
  let b_starts = (batch * params.n + b_columns) * (params.k / STEP);
  let rest = params.k % STEP;

  var sum = array<vec4f, ROWS>();
  // Part 0: whole steps. Part 1: what is left of k, one by one.
  // @unroll
  for (var part = 0u; part < 2u - K_LAST; part++) {
    let end = params.k - (1u - part) * rest;
    for (var k = part * (params.k - rest); k < end; k += STEP * (1u - part) + part) {
      var b_part: array<vec4f, STEP>;
      if (K_LAST == 1u) {
        let at = b_starts + k / STEP;
        let across = transpose(mat4x4f(b[at.x], b[at.y], b[at.z], b[at.w]));
        // @unroll
        for (var q = 0u; q < STEP; q++) {
          b_part[q] = across[q];
        }
      } else {
        // @unroll
        for (var q = 0u; q < STEP * (1u - part) + part; q++) {
          b_part[q] = b[b_start + (k + q) * columns];
        }
      }
      // Some lanes may load values that nobody asks for. What a step needs of A is counted in vec4: along a row of A, or, with K_LAST,
      // one of each row.
      var a_part: array<vec4f, ROWS>;
      // @unroll
      for (var j = 0u; j < ((STEP * (1u - part) + part) * QUADS + LANES - 1u) / LANES; j++) {
        let share = j * LANES + lane;
        if (K_LAST == 1u) {
          a_part[j] = a[a_start + (min(share, ROWS - 1u) * params.k + k) / STEP];
        } else {
          a_part[j] = a[a_start + k * QUADS + share];
        }
      }
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        var partial = sum[i];
        // @unroll
        for (var q = 0u; q < STEP * (1u - part) + part; q++) {
          let share = (q * QUADS + i / 4u) * (1u - K_LAST) + i * K_LAST;
          let value = a_part[share / LANES][(i % 4u) * (1u - K_LAST) + q * K_LAST];
          partial = fma(vec4f(subgroupShuffle(value, share % LANES)), b_part[q], partial);
        }
        sum[i] = partial;
      }
    }
  }

  // @unroll
  for (var i = 0u; i < ROWS; i++) {
    if (TURNED) {
      let row = column * 4u + i % 4u;
      let four = vec4f(
        sum[i / 4u * 4u][i % 4u],
        sum[i / 4u * 4u + 1u][i % 4u],
        sum[i / 4u * 4u + 2u][i % 4u],
        sum[i / 4u * 4u + 3u][i % 4u],
      );
      if (row < params.n) { store((batch * params.n + row) * QUADS + i / 4u, four); }
    } else if (column < columns) {
      store((batch * ROWS + i) * columns + column, sum[i]);
    }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  // Columns are counted in fours.
  let first = group.x * params.turns * LANES;
  let end = min(first + params.turns * LANES, (params.n + 3u) / 4u);
  for (var column = first; column < end; column += LANES) {
    compute(group.z, column + lane, lane);
  }
}
