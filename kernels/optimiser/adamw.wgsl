// AdamW (Loshchilov and Hutter 2019), in place, four elements at a time:
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p = p - rate * (decay * p + (m / c1) / (sqrt(v / c2) + epsilon))
// What changes per step comes from a buffer; the gradient is first scaled by clip[0].

struct Hyper {
  rate: f32,
  decay: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  correction1: f32,
  correction2: f32,
  pad: f32,
}

@group(0) @binding(0) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> mean: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> square: array<vec4f>;
@group(0) @binding(4) var<storage, read> hyper: Hyper;
@group(0) @binding(5) var<storage, read> clip: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= arrayLength(&parameter)) {
    return;
  }
  let g = gradient[i] * clip[0];
  let m = hyper.beta1 * mean[i] + (1.0 - hyper.beta1) * g;
  let v = hyper.beta2 * square[i] + (1.0 - hyper.beta2) * g * g;
  mean[i] = m;
  square[i] = v;
  let direction = (m / hyper.correction1) / (sqrt(v / hyper.correction2) + hyper.epsilon);
  parameter[i] -= hyper.rate * (hyper.decay * parameter[i] + direction);
}
