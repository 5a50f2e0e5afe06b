export { ActiveStages, type TrieNode } from './active-stages.ts';
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
  SliceHash,
  type StagePlan,
  type StageSetting,
  sliceDigest,
  stageId,
} from './lineage.ts';
export {
  type Estimate,
  lira,
  logitConfidence,
  type MembershipReport,
  type MembershipTrial,
  membershipReport,
} from './membership.ts';
export { type PartitionOptions, type Placement, place, placer, recordKey, subjectKey } from './partition.ts';
export { keyFromSeed, type PhiloxKey, PhiloxStream, philox } from './philox.ts';
export {
  interpolate,
  type Plan,
  PlanError,
  type PlanLimits,
  type PlanOptions,
  plan,
  type Shape,
  type StageCosts,
  stageSecondsOf,
} from './plan.ts';
export { estimatePrior, type LikelihoodClass, reserveSlices } from './prior.ts';
export {
  type PlacedRecord,
  type PriorAwareOptions,
  priorAwarePlacer,
} from './prior-aware-partition.ts';
export { minutesUntilRepair, type RepairNeed, type RepairPolicy } from './repair-policy.ts';
export {
  averageEditDistance,
  LOOKAHEAD,
  SequenceError,
  type SequenceOptions,
  type SequenceStrategy,
  score,
  selectSequences,
  sequenceStrategies,
  uniformPrior,
} from './sequences/index.ts';
export {
  type SimulationOptions,
  simulateDeletionRate,
  simulateDiversity,
  simulateRetention,
  simulateRetrainings,
} from './simulate.ts';
export {
  type RepairOptions,
  type RepairOutcome,
  simulateRepair,
} from './simulate-repair.ts';
export type { Summary } from './summary.ts';
export {
  deletionRate,
  deletionRateUnderPrior,
  deletionTime,
  expectedRetrainings,
  greatestEditDistance,
  harmonic,
  randomEditDistance,
  retention,
  storageBytes,
} from './theory.ts';
