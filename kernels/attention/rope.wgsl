// Rotary position embedding (Su et al. 2021) in the half-rotation layout of Hugging Face: element i of a head turns with
// element i + head_width / 2 by the angle of position and i.
//   y[i] = x[i] cos - x[i + half] sin;  y[i + half] = x[i + half] cos + x[i] sin
// The table holds, per position, the cosines of a head's first half and then the sines: no bit depends on the device's own.
// Rows of x are [batch, token, head, head_width]. One invocation four pairs.
// What is bound of x and y may be a stretch of the whole from row (token of a batch row) `first` on.

const STARTED: bool = false; // batch row b begins at position start[b], not at 0
const INVERSE: bool = false; // turn back: the gradient

struct Params { count: u32, tokens: u32, heads: u32, half4: u32, positions: u32, first: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> table: array<vec4f>;
@group(0) @binding(2) var<storage, read> start: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let pair = i % params.half4;
  let head_row = i / params.half4;
  let row = params.first + head_row / params.heads;
  var position = row % params.tokens;
  if (STARTED) { position += min(start[row / params.tokens], params.positions); }
  let turn = min(position, params.positions - 1u) * 2u * params.half4 + pair;
  let cosine = table[turn];
  let sine = select(table[turn + params.half4], -table[turn + params.half4], INVERSE);
  let at = head_row * 2u * params.half4 + pair;
  let first = x[at];
  let second = x[at + params.half4];
  y[at] = first * cosine - second * sine;
  y[at + params.half4] = second * cosine + first * sine;
}
