// The gradient through the activation of a product: f'(x) * gradient, x as the product was before, four elements at a time.
//
// 0: x    1: gradient    2: result
/** 1: GELU, 2: SiLU */
const ACTIVATION: u32 = 1u;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;

fn erf(v: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-v * v));
}

fn slope(v: vec4f) -> vec4f {
  if (ACTIVATION == 1u) {
    return 0.5 * (1.0 + erf(v * 0.70710678118)) + v * 0.3989422804 * exp(-0.5 * v * v);
  }
  let s = 1.0 / (1.0 + exp(-v));
  return s * (1.0 + v * (1.0 - s));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&result)) {
    result[i] = slope(x[i]) * gradient[i];
  }
}
