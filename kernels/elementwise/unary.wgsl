// y = f(x), element by element, four at a time.
// `operation` picks f; the switch is over a constant and folds away.

const operation: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

// Abramowitz and Stegun 7.1.26: error below 1.5e-7, which is f32 rounding for values of this size.
fn erf(v: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * abs(v));
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(v) * (1.0 - p * exp(-v * v));
}

// e^-|v| never overflows, whatever v.
fn sigmoid(v: vec4f) -> vec4f {
  let e = exp(-abs(v));
  return select(e, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + e);
}

// By their bits: a clamp or a maximum may drop a NaN, and a compiler may take it that there is none.
fn is_nan(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn apply(v: vec4f) -> vec4f {
  switch operation {
    case 0u: { return -v; }
    case 1u: { return exp(v); }
    case 2u: { return log(v); }
    case 3u: { return sqrt(v); }
    case 4u: { return select(tanh(clamp(v, vec4f(-15.0), vec4f(15.0))), v, is_nan(v)); }
    case 5u: { return select(max(v, vec4f(0.0)), v, is_nan(v)); }
    case 6u: { return v * v; }
    case 7u: { return 0.5 * v * (1.0 + erf(v * 0.70710678118)); }
    case 8u: { return sigmoid(v); }
    case 9u: { return v * sigmoid(v); }
    case 10u: { return abs(v); }
    case 11u: {
      let u = 0.7978845608 * (v + 0.044715 * v * v * v);
      return 0.5 * v * (1.0 + tanh(clamp(u, vec4f(-15.0), vec4f(15.0))));
    }
    default: { return v; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < arrayLength(&y)) {
    y[i] = apply(x[i]);
  }
}
