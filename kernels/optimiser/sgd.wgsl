// Stochastic gradient descent with momentum, in place, four elements at a time (Sutskever et al. 2013, in PyTorch's form):
//   g = g + decay * p;  v = momentum * v + g;  p = p - rate * (nesterov ? g + momentum * v : v)
// What changes per step comes from a buffer; the gradient is first scaled by clip[0].

const NESTEROV: bool = false;

struct Hyper { rate: f32, decay: f32, momentum: f32, pad: f32 }

@group(0) @binding(0) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(3) var<storage, read> hyper: Hyper;
@group(0) @binding(4) var<storage, read> clip: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= arrayLength(&parameter)) {
    return;
  }
  let g = gradient[i] * clip[0] + hyper.decay * parameter[i];
  let v = hyper.momentum * velocity[i] + g;
  velocity[i] = v;
  if (NESTEROV) {
    parameter[i] -= hyper.rate * (g + hyper.momentum * v);
  } else {
    parameter[i] -= hyper.rate * v;
  }
}
