export { type LocatedConfig, parseConfig, type RunConfig, readConfig } from './config.ts';
export { UnlearnerError, type UnlearnerErrorCode } from './errors.ts';
export type { ContinueOptions } from './generation.ts';
export { accuracy, f1, matthews, meanSquaredError, pearson, spearman } from './metrics.ts';
export type { OpenOptions } from './open-run.ts';
export type { ConsistencyProof, SignedLog } from './signed-log.ts';
export type * from './types.ts';
export { Unlearner } from './unlearner.ts';
export type { VerifyOptions } from './verify.ts';
