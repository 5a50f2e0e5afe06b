export { baseActivations } from './activations.ts';
export { type Checkpoint, readCheckpoint } from './checkpoint.ts';
export { Ensemble, type EnsembleStack } from './ensemble.ts';
export { ModelError } from './errors.ts';
export { adapterGroups, type LoraConfig, loraScale } from './lora.ts';
export { type BaseModel, loadBaseModel, placeBaseModel } from './model.ts';
export { type Picture, type Preprocessing, preprocess } from './preprocess.ts';
export { parseSafetensors, type StoredTensor, toFloat32, writeSafetensors } from './safetensors.ts';
export {
  decodeStage,
  encodeStage,
  placeStage,
  type Stage,
  type StageForm,
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
  vitParameters,
} from './vit.ts';
