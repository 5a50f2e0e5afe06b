import { fileURLToPath } from 'node:url';
import { Device } from '@s3t/engine';
import { expect, it } from 'vitest';
import { readJson } from './checkpoint/open-tensors.ts';
import { parseLlamaConfig } from './llama.ts';
import { planLlamaStage, trainOne } from './memory-plan.ts';
import { loadBaseModel } from './model.ts';
import { PUBLISHED_CONFIGS } from './testing/published-configs.ts';

const LLAMA = fileURLToPath(new URL('../../../tools/reference/llama/llama2', import.meta.url));
const GB = 1e9;

it('a plan says what training then takes, to the byte', async () => {
  const config = parseLlamaConfig(await readJson(`${LLAMA}/config.json`), 'config.json');
  const lora = { rank: 4, alpha: 8, rslora: true, dropout: 0.1, targets: ['q_proj', 'v_proj', 'down_proj'] };
  const stage = { layers: [2, 1], prefix: [[3]], batchSize: 4 };
  const quantization = 'int8';
  const device = await Device.open();
  const { adapterClass, gpu, bindingLimit } = device;
  const base = await loadBaseModel(device, LLAMA, { maxLength: 12, quantization });
  const taken = device.memory().liveBytes;
  await trainOne(base, { architecture: base.network.architecture, lora, outputs: 0 }, stage);
  const { peakBytes, textureBytes } = device.memory();
  const plan = await planLlamaStage({ config, quantization, lora, ...stage, tokens: 12 }, adapterClass, {
    maxBufferSize: gpu.limits.maxBufferSize,
    maxStorageBufferBindingSize: bindingLimit,
  });
  expect(plan).toEqual({ base: taken, most: peakBytes, textures: textureBytes });
  expect(plan.most).toBeGreaterThan(1.1 * plan.base);
  device.close();
});

it('Llama-2-7B in int8 takes a LoRA step within 24 GB', async () => {
  const config = parseLlamaConfig(PUBLISHED_CONFIGS['meta-llama/Llama-2-7b-hf']!, 'config.json');
  const lora = { rank: 16, alpha: 16, rslora: true, dropout: 0.1, targets: ['q_proj', 'v_proj'] };
  const groups = [0, 1, 2, 3].map((group) => Array.from({ length: 8 }, (_, i) => 31 - 8 * group - i));
  // The stage of the lowest layers takes most: it keeps what every layer above computes, and their adapters.
  const { base, most, textures } = await planLlamaStage(
    {
      ...{ config, lora, quantization: 'int8', batchSize: 1, tokens: 512 },
      layers: groups[3]!,
      prefix: groups.slice(0, 3),
    },
    'gpu',
    { maxBufferSize: 4 * 2 ** 30, maxStorageBufferBindingSize: 2 ** 31 - 4 },
  );
  // 6.5 billion numbers of a byte with a scale for some of them, and 0.26 billion of embedding and head in f32.
  expect(base / GB).toBeGreaterThan(6.5 + 1);
  expect(base / GB).toBeLessThan(9);
  expect(most).toBeGreaterThan(base + 1 * GB);
  expect((most + textures) / GB).toBeLessThan(24);
  // As the README says it.
  expect((most + textures) / GB).toBeCloseTo(11.4, 1);
});
