import { readFile } from 'node:fs/promises';
import { Device } from '@s3t/engine';
import { parseSafetensors, toFloat32 } from '@s3t/model';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import { weightsOf } from './testing/snapshot.ts';

let device: Device;
let project: Project;
/** Every buffer that kernels may have written and that was not destroyed, in use or kept for reuse. */
const buffers = new Set<GPUBuffer>();

beforeAll(async () => {
  device = await Device.open();
  const create = device.gpu.createBuffer.bind(device.gpu);
  vi.spyOn(device.gpu, 'createBuffer').mockImplementation((descriptor) => {
    const buffer = create(descriptor);
    const copySource = 0x0004;
    if ((descriptor.usage & copySource) === 0) return buffer;
    buffers.add(buffer);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      buffers.delete(buffer);
      destroy();
    };
    return buffer;
  });
  project = await Project.make({ records: madeRecords(24) });
});
afterAll(async () => {
  vi.restoreAllMocks();
  device.close();
  await project[Symbol.asyncDispose]();
});

async function contentOf(buffer: GPUBuffer): Promise<Float32Array> {
  const { gpu } = device;
  const staging = gpu.createBuffer({ size: buffer.size, usage: 0x0001 | 0x0008 }); // MAP_READ | COPY_DST
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  gpu.queue.submit([encoder.finish()]);
  await staging.mapAsync(0x0001);
  const content = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return content;
}

/** The adapters in the store, by stage: all values of each, one after the other. */
async function storedValues(weights: ReadonlyMap<string, string>): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const [stage, digest] of weights) {
    const file = project.path('run', 'adapters', `${digest}.safetensors`);
    const { tensors } = parseSafetensors(new Uint8Array(await readFile(file)), file);
    const all = [...tensors].flatMap(([name, stored]) => [...toFloat32(stored, name, file)]);
    values.set(stage.split('/')[1]!, Float32Array.from(all));
  }
  return values;
}

/** The stages of which four values in a row lie somewhere in device memory. */
async function stagesFound(values: ReadonlyMap<string, Float32Array>): Promise<Set<string>> {
  const places = new Map<number, { stage: string; at: number }[]>();
  for (const [stage, all] of values)
    for (let at = 0; at + 4 <= all.length; at++)
      if (all[at] !== 0) places.set(all[at]!, [...(places.get(all[at]!) ?? []), { stage, at }]);
  const found = new Set<string>();
  for (const buffer of buffers) {
    const content = await contentOf(buffer);
    content.forEach((value, j) => {
      for (const { stage, at } of places.get(value) ?? []) {
        const all = values.get(stage)!;
        if ([1, 2, 3].every((i) => content[j + i] === all[at + i])) found.add(stage);
      }
    });
  }
  return found;
}

test('nothing of a destroyed stage is left in device memory, used or kept for reuse', async () => {
  const run = await project.open('run', { device });
  await run.train();
  await run.predict([imageOf(project.records[0]!)]);
  const values = await storedValues(weightsOf(await run.status()));
  const { deactivated } = await run.erase([project.idsIn(0, 0)[0]!]);
  const gone = new Set(deactivated.map(({ stage }) => stage));
  expect(gone.size).toBeGreaterThan(0);
  const found = await stagesFound(values);
  // The test sees what is there: the stages that remain.
  expect([...values.keys()].filter((stage) => found.has(stage)).length).toBeGreaterThan(0);
  expect([...gone].filter((stage) => found.has(stage))).toEqual([]);
  await run.close();
});
