// What the gradient of every score of a query is measured against: dot(dy, y), which is the sum of weight * dot(dy, v) over its
// keys (Dao et al. 2022, FlashAttention, section B.4). One invocation a query and head.

const head_width4: u32 = 4u; // head width / 4

struct Params { count: u32, queries: u32, heads: u32 }

@group(0) @binding(0) var<storage, read> y: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
// Per query, [batch, heads, queries]: log_sum, and the product.
@group(0) @binding(2) var<storage, read_write> rows: array<vec2f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.count) {
    return;
  }
  let head = i % params.heads;
  let query = i / params.heads % params.queries;
  let batch = i / params.heads / params.queries;
  var products = vec4f(0.0);
  // @unroll
  for (var j = 0u; j < head_width4; j++) {
    products += dy[i * head_width4 + j] * y[i * head_width4 + j];
  }
  rows[(batch * params.heads + head) * params.queries + query].y =
    (products.x + products.y) + (products.z + products.w);
}
