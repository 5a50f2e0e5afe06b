// cache[r, start[b] + t, :] = x[b, t, :], in place, where r is b or, if `named` is not zero, cache_rows[b]. What would lie past the
// capacity is dropped. Of cache and x stretches may be bound, from the rows `cache_first` and `x_first` on: what belongs elsewhere
// in the cache is left to other launches.

struct Params { count: u32, tokens: u32, capacity: u32, width4: u32, cache_first: u32, x_first: u32, named: u32 }

@group(0) @binding(0) var<storage, read_write> cache: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> start: array<u32>;
@group(0) @binding(3) var<storage, read> cache_rows: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let row = params.x_first + i / params.width4;
  let batch = row / params.tokens;
  // Clamped before the sum, which must not wrap round.
  let token = min(start[batch], params.capacity) + row % params.tokens;
  var cache_row = batch;
  if (params.named != 0u) { cache_row = cache_rows[batch]; }
  let place = cache_row * params.capacity + token;
  let at = (place - params.cache_first) * params.width4 + i % params.width4;
  if (token < params.capacity && place >= params.cache_first && at < arrayLength(&cache)) {
    cache[at] = x[i];
  }
}
