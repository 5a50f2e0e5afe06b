export {
  type CanonicalValue,
  canonicalJson,
  digestOf,
  hmacSha256Hex,
  preparedHmac,
  sha256Hex,
} from './canonical.ts';
export {
  affectedBy,
  type Manifest,
  manifestDigest,
  type Stack,
  servedStacks,
  survivingDepth,
} from './ensemble.ts';
export { AlgorithmError } from './errors.ts';
export {
  countStages,
  planStages,
  type StagePlan,
  type StageSetting,
  sliceDigest,
  stageId,
} from './lineage.ts';
export { type PartitionOptions, type Placement, place, placer, recordKey } from './partition.ts';
export { keyFromName, keyFromSeed, type PhiloxKey, PhiloxStream, philox } from './philox.ts';
export {
  averageEditDistance,
  SequenceError,
  type SequenceOptions,
  type SequenceStrategy,
  score,
  selectSequences,
  sequenceStrategies,
} from './sequences/index.ts';
export { type SimulationOptions, simulateDeletionRate, simulateRetention } from './simulate.ts';
export { deletionRate, harmonic, retention, storageBytes } from './theory.ts';
