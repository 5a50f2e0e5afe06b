// The positions of the TOP largest elements of a row, largest first, equal ones in the order of their positions. A row is
// cut into parts of fixed length, one invocation each; another launch picks among the parts' picks, until one is left.
// Numbers are compared as integers of the same order: every adapter agrees, zeros of both signs are equal, NaN is largest.

const TOP: u32 = 1u;
/** The candidates are all positions of the row; otherwise those that the launch before picked. */
const FIRST: bool = true;

struct Params { rows: u32, width: u32, candidates: u32, part: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> picked: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

fn key_of(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return 0xffffffffu;
  }
  if (bits == magnitude || magnitude == 0u) {
    return 0x80000000u + magnitude;
  }
  return 0x80000000u - magnitude;
}

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 8u;
  let parts = (params.candidates + params.part - 1u) / params.part;
  if (i >= params.rows * parts) {
    return;
  }
  let row = i / parts;
  let first = i % parts * params.part;
  let last = min(first + params.part, params.candidates);

  var keys: array<u32, TOP>;
  var positions: array<u32, TOP>;
  var count = 0u;
  for (var j = first; j < last; j++) {
    var position = j;
    if (!FIRST) {
      position = picked[row * params.candidates + j];
    }
    let key = key_of(x[row * params.width + position]);
    if (count < TOP) {
      count++;
    } else if (key <= keys[TOP - 1u]) {
      continue;
    }
    // What came before wins where keys are equal: it lies further left.
    var at = count - 1u;
    while (at > 0u && keys[at - 1u] < key) {
      keys[at] = keys[at - 1u];
      positions[at] = positions[at - 1u];
      at--;
    }
    keys[at] = key;
    positions[at] = position;
  }

  // All parts but the last hold at least TOP candidates.
  let tail = min(params.candidates - (parts - 1u) * params.part, TOP);
  let start = row * ((parts - 1u) * TOP + tail) + i % parts * TOP;
  for (var j = 0u; j < count; j++) {
    result[start + j] = positions[j];
  }
}
