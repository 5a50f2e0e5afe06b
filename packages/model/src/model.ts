import { join } from 'node:path';
import type { Device } from '@s3t/engine';
import { type Checkpoint, openCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { type Preprocessing, parsePreprocessing } from './preprocess.ts';
import { loadVit, parseVitConfig, type VitConfig, type VitWeights } from './vit.ts';

/** A base model on a device: what every adapter stands on. */
export interface BaseModel {
  device: Device;
  folder: string;
  /** SHA-256 of the folder's files: the identity of the base. */
  digest: string;
  config: VitConfig;
  weights: VitWeights;
  preprocessing: Preprocessing;
}

/** Reads a base model in Hugging Face layout and puts it on a device. @throws ModelError naming file and field */
export async function loadBaseModel(device: Device, folder: string): Promise<BaseModel> {
  const checkpoint = await openCheckpoint(folder);
  try {
    return await placeBaseModel(device, checkpoint);
  } finally {
    await checkpoint.tensors.close();
  }
}

/** Puts a checkpoint on a device. */
export async function placeBaseModel(device: Device, checkpoint: Checkpoint): Promise<BaseModel> {
  const { folder, digest } = checkpoint;
  const config = parseVitConfig(checkpoint.config, join(folder, 'config.json'));
  const preprocessor = join(folder, 'preprocessor_config.json');
  const preprocessing = parsePreprocessing(checkpoint.preprocessor, config.num_channels, preprocessor);
  const { width, height } = preprocessing.size;
  if (width !== config.image_size || height !== config.image_size)
    throw new ModelError(
      `${preprocessor}: field size is ${width} x ${height}, but image_size in config.json is ${config.image_size}`,
    );
  const weights = await loadVit(device, config, checkpoint.tensors);
  return { device, folder, digest, config, weights, preprocessing };
}
