export type { Acknowledge } from './acknowledge.ts';
export { AdapterStore } from './adapter-store.ts';
export { entryHash } from './chain.ts';
export * from './errors.ts';
export { Ledger } from './ledger.ts';
export { acquireLock, type Lock, type LockRecord, readLock } from './lock.ts';
export { type OpenLedger, openLedger } from './open.ts';
export type * from './types.ts';
