// What an experiment builds on besides a run: the same data, partition, stages and bits, without ledger and service.
export { combine } from './combine.ts';
export { measures, metricOf } from './evaluate.ts';
export { exampleOf } from './examples.ts';
export { KeptActivations } from './kept-activations.ts';
export { openRun, type PreparedBase, type PreparedRun, prepareBase, prepareRun } from './open-run.ts';
export { encodeAll } from './predict.ts';
export { type RunRecord, readSplit, recordsByKey } from './run-data.ts';
export { groupsOf, manifestFunction } from './setting.ts';
export { StageMeter } from './stage-meter.ts';
export { type StageContext, workStage } from './stage-work.ts';
export { labelNumber, outputNames, TASKS } from './tasks.ts';
