/**
 * Asks Dawn (the `webgpu` package) for an adapter and proves that it computes.
 *
 * It runs in a child process of its own: a driver that does not fit can take the whole process with it, and
 * the Vulkan loader reads its environment once. Prints one line of JSON (a {@link Probe}) on stdout.
 *
 *     node scripts/lib/probe.mjs [FOLDER]     where `webgpu` resolves from; by default this repository
 *
 * @typedef {{vendor: string, architecture: string, device: string, description: string,
 *   isFallbackAdapter: boolean, subgroupMinSize?: number, subgroupMaxSize?: number}} Adapter
 * @typedef {{ok: true, adapter: Adapter, backend: string, features: string[], limits: Record<string, number>}
 *   | {ok: false, adapter?: Adapter, error: string}} Probe
 */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxStorageTexturesPerShaderStage',
  'maxTextureDimension2D',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
];

const KERNEL = /* wgsl */ `
  @group(0) @binding(0) var<storage, read_write> data: array<u32>;
  @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
    data[id.x] = data[id.x] * 3u + id.x;
  }`;

/** Dawn crashes when a GPU object is collected before what it made. */
const alive = new Set();

/**
 * @param {string} folder where `webgpu` resolves from
 * @returns {Promise<Probe>} never rejects: what goes wrong is in `error`
 */
export async function probe(folder) {
  let adapter;
  try {
    const require = createRequire(resolve(folder, 'package.json'));
    const { create, globals } = await import(pathToFileURL(require.resolve('webgpu')).href);
    Object.assign(globalThis, globals);
    const gpu = create([]);
    alive.add(gpu);
    const found = await gpu.requestAdapter();
    if (!found) return { ok: false, error: 'no WebGPU adapter found' };
    adapter = describe(found.info);
    const device = await found.requestDevice();
    const error = await checkDispatch(device);
    device.destroy();
    if (error) return { ok: false, adapter, error };
    return {
      ok: true,
      adapter,
      backend: backendOf(found.info),
      features: [...found.features].sort(),
      limits: Object.fromEntries(LIMITS.map((name) => [name, Number(found.limits[name])])),
    };
  } catch (error) {
    return { ok: false, adapter, error: error instanceof Error ? error.message : String(error) };
  }
}

/** @returns {Adapter} */
function describe(info) {
  const { vendor, architecture, device, description, isFallbackAdapter, subgroupMinSize, subgroupMaxSize } =
    info;
  return {
    vendor,
    architecture,
    device,
    description,
    isFallbackAdapter: Boolean(isFallbackAdapter),
    subgroupMinSize,
    subgroupMaxSize,
  };
}

/** Dawn's Node binding does not tell; per platform it has one backend that our set-up uses. */
function backendOf(info) {
  return info.backend ?? { darwin: 'metal', win32: 'd3d12' }[process.platform] ?? 'vulkan';
}

/** @returns {Promise<string | undefined>} what is wrong with a small dispatch, if anything */
async function checkDispatch(device) {
  const count = 256;
  device.pushErrorScope('validation');
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const data = device.createBuffer({ size: count * 4, usage: STORAGE | COPY_SRC | COPY_DST });
  const back = device.createBuffer({ size: count * 4, usage: MAP_READ | COPY_DST });
  device.queue.writeBuffer(data, 0, new Uint32Array(count).fill(5));
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code: KERNEL }) },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: data } }],
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(count / 64);
  pass.end();
  encoder.copyBufferToBuffer(data, 0, back, 0, count * 4);
  device.queue.submit([encoder.finish()]);
  await back.mapAsync(GPUMapMode.READ);
  const values = new Uint32Array(back.getMappedRange());
  const wrong = values.findIndex((value, index) => value !== 15 + index);
  const problem = await device.popErrorScope();
  if (problem) return problem.message;
  return wrong < 0 ? undefined : `a test dispatch gave ${values[wrong]} instead of ${15 + wrong} at ${wrong}`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const folder = process.argv[2] ?? resolve(import.meta.dirname, '../..');
  process.stdout.write(`${JSON.stringify(await probe(folder))}\n`);
}
