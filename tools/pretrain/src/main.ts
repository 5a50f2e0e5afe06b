// node tools/pretrain/src/main.ts [--count N] [--epochs N] [--out FOLDER]: renders the glyphs and trains assets/vit-tiny.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '@s3t/engine';
import { parseVitConfig, writeSafetensors } from '@s3t/model';
import { loadDataset, split } from './dataset.ts';
import { PIXEL_DEVIATION, PIXEL_MEAN, type PretrainOptions, pretrain } from './train.ts';

const { values: flags } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    epochs: { type: 'string', default: '3' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: new URL('../../../assets/vit-tiny', import.meta.url).pathname },
  },
});

const architecture = {
  model_type: 'vit',
  architectures: ['ViTModel'],
  hidden_size: 64,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  intermediate_size: 256,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  layer_norm_eps: 1e-6,
  image_size: 28,
  patch_size: 7,
  num_channels: 1,
  qkv_bias: true,
};
const preprocessor = {
  image_processor_type: 'ViTImageProcessor',
  do_resize: true,
  size: { height: 28, width: 28 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [PIXEL_MEAN],
  image_std: [PIXEL_DEVIATION],
};

const options: PretrainOptions = {
  epochs: Number(flags.epochs),
  batchSize: 64,
  learningRate: 1e-3,
  weightDecay: 0.05,
  warmup: 0.05,
  seed: Number(flags.seed),
};
const count = Number(flags.count);
console.error(`rendering ${count} glyphs`);
const examples = loadDataset({ count, seed: options.seed });
const device = await Device.open();
const began = performance.now();
const values = await pretrain(
  device,
  parseVitConfig(architecture, 'config.json'),
  examples,
  split(count),
  options,
  ({ step, steps, loss, accuracy }) => {
    const seconds = (performance.now() - began) / 1000;
    const held = accuracy === null ? '' : `  held-out accuracy ${accuracy.toFixed(4)}`;
    const left = (seconds / step) * (steps - step);
    console.error(
      `step ${step}/${steps}  loss ${loss.toFixed(4)}  ${seconds.toFixed(0)} s, ${left.toFixed(0)} s left${held}`,
    );
  },
);
device.close();

mkdirSync(flags.out, { recursive: true });
const tensors = new Map(
  [...values]
    .filter(([name]) => !name.startsWith('classifier.'))
    .map(([name, value]) => [`vit.${name}`, value]),
);
const write = (name: string, content: string | Uint8Array) => writeFileSync(join(flags.out, name), content);
write('config.json', `${JSON.stringify(architecture, null, 2)}\n`);
write('preprocessor_config.json', `${JSON.stringify(preprocessor, null, 2)}\n`);
write('model.safetensors', writeSafetensors(tensors, { format: 'pt' }));
console.error(`wrote ${flags.out}`);
