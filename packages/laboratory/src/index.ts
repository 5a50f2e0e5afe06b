export { type Counted, type LayerPasses, layerPasses } from './counting.ts';
export { type DepthScores, depthScores, resultsOf } from './depth-scores.ts';
export { LaboratoryError } from './errors.ts';
export {
  type ExperimentOptions,
  type ExperimentResult,
  runExperiment,
  type StageLine,
} from './experiment.ts';
export type { Seconds } from './journal.ts';
export {
  type Changes,
  type Planned,
  type PreparationOptions,
  planExperiment,
  prepareExperiment,
  RECIPES,
  recipeOf,
} from './prepare.ts';
export { EXPERIMENTS, type ExperimentName, type Recipe } from './recipe.ts';
export {
  compareSchedules,
  type ScheduleComparison,
  type ScheduleLine,
  type ScheduleOptions,
} from './schedules.ts';
export { type Method, type Performance, performanceOverDeletions, type StreamOptions } from './streams.ts';
