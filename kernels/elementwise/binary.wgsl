// z = f(x, y) for operands of one shape, four elements at a time. `operation` picks f.

const operation: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> z: array<vec4f>;

fn erf(v: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-v * v));
}

// d/dx of x * normal_cdf(x) = normal_cdf(x) + x * normal_pdf(x)
fn gelu_slope(v: vec4f) -> vec4f {
  return 0.5 * (1.0 + erf(v * 0.70710678118)) + v * 0.3989422804 * exp(-0.5 * v * v);
}

fn sigmoid(v: vec4f) -> vec4f {
  let e = exp(-abs(v));
  return select(e, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + e);
}

// d/dx of x * sigmoid(x) = s * (1 + x * (1 - s))
fn silu_slope(v: vec4f) -> vec4f {
  let s = sigmoid(v);
  return s * (1.0 + v * (1.0 - s));
}

// d/dx of 0.5 x (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
fn gelu_tanh_slope(v: vec4f) -> vec4f {
  let u = 0.7978845608 * (v + 0.044715 * v * v * v);
  let t = tanh(clamp(u, vec4f(-15.0), vec4f(15.0)));
  // Where tanh is flat the second term is 0 * infinity for large v.
  let bend = select(0.5 * v * (1.0 - t * t) * 0.7978845608 * (1.0 + 0.134145 * v * v), vec4f(0.0), abs(u) >= vec4f(15.0));
  return 0.5 * (1.0 + t) + bend;
}

fn apply(a: vec4f, b: vec4f) -> vec4f {
  switch operation {
    case 0u: { return a + b; }
    case 1u: { return a - b; }
    case 2u: { return a * b; }
    case 3u: { return a / b; }
    case 4u: { return gelu_slope(a) * b; }
    case 5u: { return select(vec4f(0.0), b, a > vec4f(0.0)); }
    case 6u: { return (1.0 - a * a) * b; }
    case 7u: { return max(a, b); }
    case 8u: { return min(a, b); }
    case 9u: { return a * (1.0 - a) * b; }
    case 10u: { return silu_slope(a) * b; }
    case 11u: { return sign(a) * b; }
    case 12u: { return gelu_tanh_slope(a) * b; }
    default: { return a; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&z)) {
    z[i] = apply(x[i], y[i]);
  }
}
