export { BasePass, baseActivations } from './activations.ts';
export {
  adaptedLinear,
  type LayerAdapter,
  type LinearWeights,
  type LoraPair,
  sideBySide,
} from './adapter.ts';
export type {
  AdapterTarget,
  Architecture,
  Head,
  HeadParameter,
  HostInputs,
  InputField,
  Inputs,
  LayerOptions,
  Network,
} from './architecture.ts';
export { type Augmentation, augment, type Draw } from './augment.ts';
export { type Parameter, placeWeights, QUANTIZATIONS, type Quantization } from './base-weights.ts';
export { bucketFor } from './batches.ts';
export {
  type BertConfig,
  type BertWeights,
  bertArchitecture,
  bertNetwork,
  bertParameters,
  loadBert,
  parseBertConfig,
} from './bert.ts';
export { type ByteSource, blobSource, fileSource, memorySource } from './checkpoint/byte-source.ts';
export { openTensors } from './checkpoint/open-tensors.ts';
export { openSafetensors } from './checkpoint/safetensors-store.ts';
export type { TensorInfo, TensorStore } from './checkpoint/tensor-store.ts';
export { type Checkpoint, openCheckpoint } from './checkpoint.ts';
export { batchSizes, Ensemble, type EnsembleStack, type TokenScore, type TokenScores } from './ensemble.ts';
export { ModelError, OptionError } from './errors.ts';
export type { GeneratedPiece, GenerateOptions } from './generation/continuation.ts';
export { ContinuousBatch, type ContinuousBatchOptions } from './generation/continuous-batch.ts';
export { Decoder, type DecoderOptions, type LlamaModel } from './generation/decoder.ts';
export { generate } from './generation/generate.ts';
export type { SamplingOptions } from './generation/sampling.ts';
export { TextStream } from './generation/text-stream.ts';
export type { GgufMetadata, GgufValue } from './gguf/gguf-header.ts';
export { type GgufStore, openGguf } from './gguf/gguf-store.ts';
export { ggufTokenizer } from './gguf/gguf-tokenizer.ts';
export { llamaConfig } from './gguf/llama-names.ts';
export {
  type DownloadProgress,
  defaultCacheDir,
  type ResolveOptions,
  resolveBase,
  resolveDataset,
} from './hub/resolve-base.ts';
export { copyInputs, hostInputs, recordOf } from './inputs.ts';
export { canTrainTogether, trainStages } from './joint-training.ts';
export type { LanguageModel, Learnt } from './language-model.ts';
export {
  decoderLayer,
  embedTokens,
  type LayerCache,
  LLAMA_TARGETS,
  type LlamaConfig,
  type LlamaLayer,
  type LlamaTarget,
  type LlamaWeights,
  type LoadLlamaOptions,
  languageModelLogits,
  languageModelLoss,
  llamaParameters,
  loadLlama,
  type NextTokens,
  nextTokens,
  parseLlamaConfig,
} from './llama.ts';
export type { RopeScaling } from './llama-rope.ts';
export { adapterGroups, type LoraConfig, loraScale } from './lora.ts';
export { type MemoryPlan, type PlannedStage, planLlamaStage } from './memory-plan.ts';
export { type BaseModel, type BaseOptions, type Example, loadBaseModel, placeBaseModel } from './model.ts';
export type { ObjectiveName } from './objective.ts';
export type { AdapterOptions } from './peft/adapter-config.ts';
export { readAdapter, writeAdapter } from './peft/adapter-folder.ts';
export { type ImportedAdapter, importAdapter } from './peft/import-adapter.ts';
export { writeMergedModel } from './peft/merged-model.ts';
export { type Picture, type Preprocessing, preprocess } from './preprocess.ts';
export { parseSafetensors, type StoredTensor, toFloat32, writeSafetensors } from './safetensors.ts';
export {
  decodeStage,
  encodeStage,
  placeStage,
  type Stage,
  type StageForm,
  type StageValues,
  startStage,
  targetsOf,
} from './stage.ts';
export {
  type FrozenStage,
  type StageProgress,
  type StageTask,
  stageSteps,
  type TrainingConfig,
  trainStage,
} from './stage-training.ts';
export { type ChatMessage, ChatTemplate } from './text/chat-template.ts';
export { loadTokenizer } from './text/load-tokenizer.ts';
export {
  type BatchOptions,
  type EncodedText,
  type EncodeOptions,
  type TextBatch,
  type TextInput,
  Tokenizer,
} from './text/tokenizer.ts';
export { unlessStopped } from './unless-stopped.ts';
export {
  arrangeVit,
  classify,
  embed,
  encoderLayer,
  loadVit,
  parseVitConfig,
  tokenCount,
  type VitConfig,
  type VitWeights,
  vitArchitecture,
  vitNetwork,
  vitParameters,
} from './vit.ts';
