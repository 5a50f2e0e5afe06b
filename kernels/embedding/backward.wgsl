// The gradient of embedding/lookup for its table: d table[r, :] = the sum of dy[i, :] over i with index[i] = r, in the order of i.
// The positions come sorted by index, equal ones in order: the invocation of the first one of a row walks the others. The sums
// go on from what d table holds. What is bound of it may be a stretch from row `first` on, as in embedding/lookup.

alias Element = vec4f;

struct Params { count: u32, width: u32, table_rows: u32, first: u32 }

@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<Element>;
@group(0) @binding(3) var<storage, read_write> d_table: array<Element>;
@group(0) @binding(4) var<uniform> params: Params;

fn row_at(place: u32) -> u32 {
  return min(index[order[place]], params.table_rows - 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count * params.width) {
    return;
  }
  let column = i % params.width;
  var place = i / params.width;
  let row = row_at(place);
  let at = (row - params.first) * params.width + column;
  if (row < params.first || at >= arrayLength(&d_table) || (place > 0u && row_at(place - 1u) == row)) {
    return;
  }
  var sum = d_table[at];
  for (; place < params.count && row_at(place) == row; place++) {
    sum += dy[order[place] * params.width + column];
  }
  d_table[at] = sum;
}
