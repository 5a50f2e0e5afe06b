// factor[0] = min(1, limit / norm) with norm = sqrt(sum of the given sums of squares). The sums are few: one invocation.

struct Params { count: u32, limit: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> factor: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  var total = 0.0;
  for (var i = 0u; i < params.count; i++) { total += sums[i]; }
  factor[0] = min(1.0, bitcast<f32>(params.limit) / (sqrt(total) + 1e-6));
}
