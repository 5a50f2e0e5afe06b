import { rmSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ModelError } from './errors.ts';
import { type BaseOptions, loadBaseModel } from './model.ts';

const base = (name: string) => fileURLToPath(new URL(`../../../tools/reference/${name}`, import.meta.url));
const BASES = ['vit', 'bert', 'llama/llama3'];

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await Device.open();
  folder = await mkdtemp(join(tmpdir(), 's3t-load-'));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true });
});

/** Options that do something once the files are open, before the first of them is hashed or the first weight is placed. */
const once = (act: () => void): BaseOptions => ({
  get quantization() {
    act();
    return undefined;
  },
});

it.each(BASES)('leaves nothing of %s on the device where only its digest fails', async (name) => {
  const copy = join(folder, name);
  await cp(base(name), copy, { recursive: true });
  const file = join(copy, 'config.json');
  const before = device.memory().liveBytes;
  const loading = loadBaseModel(
    device,
    copy,
    once(() => rmSync(file)),
  );
  await expect(loading).rejects.toThrow(new ModelError(`${file}: there is no such file`));
  expect(device.memory().liveBytes).toBe(before);
});

it.each(BASES)('stops loading %s with the reason of a signal, and leaves nothing', async (name) => {
  const before = device.memory().liveBytes;
  const enough = new Error('enough');
  const controller = new AbortController();
  const options = once(() => setImmediate(() => controller.abort(enough)));
  await expect(loadBaseModel(device, base(name), options, controller.signal)).rejects.toBe(enough);
  expect(device.memory().liveBytes).toBe(before);
  await expect(loadBaseModel(device, base(name), {}, controller.signal)).rejects.toBe(enough);
});
