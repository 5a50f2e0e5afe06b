export { averageEditDistance, score } from './measure.ts';
export { sequenceStrategies } from './registry.ts';
export { selectSequences } from './select.ts';
export { SequenceError, type SequenceOptions, type SequenceStrategy } from './strategy.ts';
