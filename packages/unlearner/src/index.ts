export { type AuditMoment, type AuditOptions, type AuditReport, audit } from './audit.ts';
export {
  type Backup,
  type BackupChoice,
  backupRun,
  type Restored,
  type RestoreOptions,
  restoreRun,
} from './backup.ts';
export { type LocatedConfig, parseConfig, type RunConfig, readConfig } from './config.ts';
export { UnlearnerError, type UnlearnerErrorCode } from './errors.ts';
export type { ContinueOptions } from './generation.ts';
export { type ImportOptions, importBase } from './import.ts';
export { accuracy, f1, matthews, meanSquaredError, pearson, spearman } from './metrics.ts';
export type { OpenOptions } from './open-run.ts';
export { readPublicKey, readStatus } from './read-run.ts';
export type { ConsistencyProof, SignedLog } from './signed-log.ts';
export { STAGED_BACKUP } from './staged-backup.ts';
export type * from './types.ts';
export { Unlearner } from './unlearner.ts';
export type { VerifyOptions } from './verify.ts';
