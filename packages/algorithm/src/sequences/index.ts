export { averageEditDistance, score } from './measure.ts';
export { sequenceStrategies } from './registry.ts';
export { selectSequences } from './select.ts';
export {
  LOOKAHEAD,
  SequenceError,
  type SequenceOptions,
  type SequenceStrategy,
  uniformPrior,
} from './strategy.ts';
