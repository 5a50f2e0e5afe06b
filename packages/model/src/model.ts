import type { Device } from '@s3t/engine';
import type { HostInputs, Network } from './architecture.ts';
import { frozenType, type Parameter, type Placing, type Quantization } from './base-weights.ts';
import { bertNetwork, bertParameters, bertPrefix, loadBert, maxTokens, parseBertConfig } from './bert.ts';
import { type Checkpoint, companionOf, nameOf, openCheckpointSoon } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import { type ActivationType, withHalfActivations } from './half-activations.ts';
import { type LanguageModel, placeLlama } from './language-model.ts';
import { Owned } from './owned.ts';
import { type Picture, parsePreprocessing, preprocess } from './preprocess.ts';
import { openTextBase } from './text/text-base.ts';
import type { TextInput } from './text/tokenizer.ts';
import { unlessStopped } from './unless-stopped.ts';
import { loadVit, parseVitConfig, VIT_PREFIX, vitNetwork, vitParameters } from './vit.ts';

/** What a record shows the model. */
export type Example = { image: Picture } | { text: TextInput } | { prompt: string; response: string };

export interface BaseOptions {
  /** Tokens of a text at most: longer ones are cut. Default: 128, or as many as the base has positions. */
  maxLength?: number | undefined;
  /** The lengths that texts are padded to, besides `maxLength`. Default: powers of two from 16 on. */
  buckets?: readonly number[] | undefined;
  /** Whether texts come in pairs: one has to leave room for more special tokens. */
  pairs?: boolean | undefined;
  /** What the weights of the layers' linear layers are kept in; embeddings, norms and heads stay f32. Default: f32 */
  quantization?: Quantization | undefined;
  /** What layers hand on is stored in, in training and answering alike. Default: f32 */
  activations?: ActivationType | undefined;
}

/** A network, and how examples become its inputs. */
export interface Placed {
  network: Network;
  /** What an example has to be. */
  reads: 'image' | 'text';
  /** What of a checkpoint it is made of, and what stands before these names in one with a head. */
  parameters: readonly Parameter[];
  prefix: string;
  /** The lengths that examples are padded to: they rise, and the last is all tokens of the architecture. */
  buckets: readonly number[];
  /** The inputs of the network for an example. @throws ModelError when it is none that the base takes */
  encode(example: Example): HostInputs;
  /** How many of the first tokens of an encoded example count: what follows fills up. */
  lengthOf(inputs: HostInputs): number;
  /** Of a base that continues texts. */
  language?: LanguageModel;
}

/** A base model on a device: what every adapter stands on. */
export interface BaseModel extends Placed {
  device: Device;
  /** Or a .gguf file. */
  folder: string;
  /** SHA-256 of its files: the identity of the base. */
  digest: string;
}

/** By model_type of config.json. */
const FAMILIES: Record<
  string,
  (device: Device, from: Checkpoint, options: BaseOptions, placing: Placing) => Promise<Placed>
> = {
  vit: placeVit,
  bert: placeBert,
  roberta: placeBert,
  'xlm-roberta': placeBert,
  llama: placeLlama,
};

/**
 * Reads a base model, a folder in Hugging Face layout or a .gguf file, and puts it on a device, whole or not at all.
 * @param signal ends it early, with its reason
 * @throws ModelError naming file and field; OptionError for an option that does not go with it
 */
export async function loadBaseModel(
  device: Device,
  folder: string,
  options: BaseOptions = {},
  signal?: AbortSignal,
): Promise<BaseModel> {
  signal?.throwIfAborted();
  const { digest, ...checkpoint } = await openCheckpointSoon(folder);
  const owned = new Owned();
  try {
    // The weights go to the device while their files are hashed; what fails first is told when both are done with.
    const placing = place(device, { ...checkpoint, digest: '' }, options, { owned, signal });
    const [placed, known] = await Promise.allSettled([placing, unlessStopped(digest, signal)]);
    if (placed.status === 'rejected') throw placed.reason;
    if (known.status === 'rejected') throw known.reason;
    return { ...placed.value, digest: known.value };
  } catch (error) {
    owned.release();
    throw error;
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
  return place(device, checkpoint, options, {});
}

async function place(
  device: Device,
  checkpoint: Checkpoint,
  options: BaseOptions,
  placing: Placing,
): Promise<BaseModel> {
  const { folder, digest, config } = checkpoint;
  const type = String(config.model_type);
  if (!Object.hasOwn(FAMILIES, type))
    throw new ModelError(
      `${nameOf(checkpoint, 'config.json')}: field model_type is ${JSON.stringify(config.model_type)}; known are ${Object.keys(FAMILIES).join(', ')}`,
    );
  const placed = await FAMILIES[type]!(device, checkpoint, options, placing);
  const network = options.activations === 'f16' ? withHalfActivations(placed.network) : placed.network;
  return { device, folder, digest, ...placed, network };
}

async function placeVit(
  device: Device,
  checkpoint: Checkpoint,
  options: BaseOptions,
  placing: Placing,
): Promise<Placed> {
  const { folder } = checkpoint;
  const config = parseVitConfig(checkpoint.config, nameOf(checkpoint, 'config.json'));
  const file = nameOf(checkpoint, 'preprocessor_config.json');
  const content = companionOf(checkpoint, 'preprocessor_config.json');
  const preprocessing = parsePreprocessing(content, config.num_channels, file);
  const { width, height } = preprocessing.size;
  if (width !== config.image_size || height !== config.image_size)
    throw new ModelError(
      `${file}: field size is ${width} x ${height}, but image_size in config.json is ${config.image_size}`,
    );
  const weights = await loadVit(
    device,
    config,
    checkpoint.tensors,
    frozenType(options.quantization),
    placing,
  );
  const network = vitNetwork(config, weights);
  const { tokens } = network.architecture;
  return {
    network,
    reads: 'image',
    buckets: [tokens],
    lengthOf: () => tokens,
    parameters: vitParameters(config),
    prefix: VIT_PREFIX,
    encode(example) {
      if (!('image' in example)) throw new ModelError(`${folder}: this base reads pictures, not texts`);
      const pixels = new Float32Array(preprocessing.channels * width * height);
      preprocess(example.image, preprocessing, pixels);
      return { pixels };
    },
  };
}

async function placeBert(
  device: Device,
  checkpoint: Checkpoint,
  options: BaseOptions,
  placing: Placing,
): Promise<Placed> {
  const { folder } = checkpoint;
  const config = parseBertConfig(checkpoint.config, nameOf(checkpoint, 'config.json'));
  const { tokenizer, length, buckets, assertWithin } = openTextBase(checkpoint, maxTokens(config), options);
  const weights = await loadBert(
    device,
    config,
    checkpoint.tensors,
    frozenType(options.quantization),
    placing,
  );
  return {
    network: bertNetwork(config, weights, length),
    reads: 'text',
    buckets,
    lengthOf: ({ mask }) => mask!.lastIndexOf(1) + 1,
    parameters: bertParameters(config),
    prefix: bertPrefix(config),
    encode(example) {
      if (!('text' in example)) throw new ModelError(`${folder}: this base reads texts, not pictures`);
      const { ids, mask, typeIds } = tokenizer.encodeBatch([example.text], {
        length,
        padId: config.pad_token_id,
      });
      assertWithin(ids, config.vocab_size, 'token');
      assertWithin(typeIds, config.type_vocab_size, 'token type');
      return { ids, mask, typeIds };
    },
  };
}
