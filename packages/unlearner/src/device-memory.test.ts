import { readFile } from 'node:fs/promises';
import { AdamW, Device, Tensor } from '@s3t/engine';
import { parseSafetensors, toFloat32 } from '@s3t/model';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { imageOf, madeRecords } from './testing/pictures.ts';
import { Project } from './testing/project.ts';
import { weightsOf } from './testing/snapshot.ts';
import type { UnlearnerEvent } from './types.ts';
import type { Unlearner } from './unlearner.ts';

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

describe('of a stage that learns from a record when it is erased nothing is left there', () => {
  test('in a repair', async () => {
    await using run = await project.open('repaired', { device });
    await run.train();
    // All of shard 0 is missing then.
    await run.erase([project.idsIn(0, 0)[0]!, project.idsIn(0, 1)[0]!, project.idsIn(0, 2)[0]!]);
    const stop = new AbortController();
    // Nothing else is trained before the memory was looked at.
    let isSuperseded = false;
    run.on(({ type }) => {
      isSuperseded ||= type === 'stage-superseded';
    });
    const turn = () => (isSuperseded ? new Promise<void>(() => {}) : undefined);
    await expectGone(run, 0, () => run.repair({ turn, signal: stop.signal }));
    stop.abort(new Error('no more'));
    await run.repair();
    expect(await run.verify()).toMatchObject({ identical: true, missing: [] });
  });

  test('in a verification', async () => {
    await using run = await project.open('verified', { device });
    await run.train();
    let verification: Promise<unknown> | null = null;
    await expectGone(run, 0, () => {
      verification = run.verify({ fromScratch: true });
      return verification;
    });
    await expect(verification).rejects.toThrow('records were erased meanwhile');
  });
});

/** Erases a record of a shard in the first step of a stage that learns from it, and looks at the device as soon as that is acknowledged. */
async function expectGone(run: Unlearner, shard: number, work: () => Promise<unknown>): Promise<void> {
  const held: GPUBuffer[] = [];
  const { destroy } = Tensor.prototype;
  const freed = vi.spyOn(AdamW.prototype, 'dispose');
  const zeroed = vi.spyOn(Tensor.prototype, 'destroy').mockImplementation(function (this: Tensor) {
    held.push(this.storage.buffer);
    destroy.call(this);
  });
  let erasure = null as Promise<{ freed: number; held: GPUBuffer[] }> | null;
  const begun = new Map<string, number>();
  const stop = run.on((event: UnlearnerEvent) => {
    if (event.type === 'stage-started' && event.shard === shard) begun.set(event.stage, event.slices[0]!);
    if (erasure || event.type !== 'step' || !begun.has(event.stage) || event.step === event.steps) return;
    // Those of stages before it.
    held.length = 0;
    freed.mockClear();
    erasure = run
      .erase([project.idsIn(shard, begun.get(event.stage)!)[1]!])
      .then(() => ({ freed: freed.mock.calls.length, held: [...held] }));
  });
  work().catch(() => {});
  await vi.waitUntil(() => erasure !== null, { timeout: 30_000 });
  const then = (await erasure)!;
  stop();
  zeroed.mockRestore();
  freed.mockRestore();
  expect(then.freed).toBe(1);
  // Its parameters and the two moments of each.
  expect(then.held.length).toBeGreaterThan(6);
  for (const buffer of then.held)
    if (buffers.has(buffer)) expect((await contentOf(buffer)).every((value) => value === 0)).toBe(true);
}
