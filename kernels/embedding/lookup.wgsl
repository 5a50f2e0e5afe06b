// y[i, :] = table[index[i], :], with the elements of a row one by one or by fours. An index past the end reads the last row.
// The table bound may be a stretch of the whole from row `first` on: rows outside it are left to other launches.

alias Element = vec4f;

struct Params { count: u32, width: u32, table_rows: u32, first: u32 }

@group(0) @binding(0) var<storage, read> table: array<Element>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count * params.width) {
    let row = min(index[i / params.width], params.table_rows - 1u);
    let at = (row - params.first) * params.width + i % params.width;
    if (row >= params.first && at < arrayLength(&table)) {
      y[i] = table[at];
    }
  }
}
