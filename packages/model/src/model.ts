import { join } from 'node:path';
import type { Device } from '@s3t/engine';
import type { HostInputs, Network } from './architecture.ts';
import { type Checkpoint, companionOf, openCheckpoint } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { type Picture, parsePreprocessing, preprocess } from './preprocess.ts';
import type { TextInput } from './text/tokenizer.ts';
import { loadVit, parseVitConfig, vitNetwork } from './vit.ts';

/** What a record shows the model. */
export type Example = { image: Picture } | { text: TextInput };

export interface BaseOptions {
  /** Tokens of a text at most: longer ones are cut. Default: 128, or as many as the base has positions. */
  maxLength?: number | undefined;
}

/** A network, and how examples become its inputs. */
interface Placed {
  network: Network;
  /** The inputs of the network for an example. @throws ModelError when it is none that the base takes */
  encode(example: Example): HostInputs;
}

/** A base model on a device: what every adapter stands on. */
export interface BaseModel extends Placed {
  device: Device;
  folder: string;
  /** SHA-256 of the folder's files: the identity of the base. */
  digest: string;
}

/** By model_type of config.json. */
const FAMILIES: Record<string, (device: Device, from: Checkpoint, options: BaseOptions) => Promise<Placed>> =
  {
    vit: placeVit,
  };

/** Reads a base model in Hugging Face layout and puts it on a device. @throws ModelError naming file and field */
export async function loadBaseModel(
  device: Device,
  folder: string,
  options: BaseOptions = {},
): Promise<BaseModel> {
  const checkpoint = await openCheckpoint(folder);
  try {
    return await placeBaseModel(device, checkpoint, options);
  } finally {
    await checkpoint.tensors.close();
  }
}

/** Puts a checkpoint on a device. @throws ModelError naming file and field */
export async function placeBaseModel(
  device: Device,
  checkpoint: Checkpoint,
  options: BaseOptions = {},
): Promise<BaseModel> {
  const { folder, digest, config } = checkpoint;
  const type = String(config.model_type);
  if (!Object.hasOwn(FAMILIES, type))
    throw new ModelError(
      `${join(folder, 'config.json')}: field model_type is ${JSON.stringify(config.model_type)}; known are ${Object.keys(FAMILIES).join(', ')}`,
    );
  return { device, folder, digest, ...(await FAMILIES[type]!(device, checkpoint, options)) };
}

async function placeVit(device: Device, checkpoint: Checkpoint): Promise<Placed> {
  const { folder } = checkpoint;
  const config = parseVitConfig(checkpoint.config, join(folder, 'config.json'));
  const file = join(folder, 'preprocessor_config.json');
  const content = companionOf(checkpoint, 'preprocessor_config.json');
  const preprocessing = parsePreprocessing(content, config.num_channels, file);
  const { width, height } = preprocessing.size;
  if (width !== config.image_size || height !== config.image_size)
    throw new ModelError(
      `${file}: field size is ${width} x ${height}, but image_size in config.json is ${config.image_size}`,
    );
  const weights = await loadVit(device, config, checkpoint.tensors);
  return {
    network: vitNetwork(config, weights),
    encode(example) {
      if (!('image' in example)) throw new ModelError(`${folder}: this base reads pictures, not texts`);
      const pixels = new Float32Array(preprocessing.channels * width * height);
      preprocess(example.image, preprocessing, pixels);
      return { pixels };
    },
  };
}
