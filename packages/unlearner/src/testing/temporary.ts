import { cpSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';

/** A fresh folder. */
export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 's3t-unlearner-'));
}

/** Copies a folder. Synchronously: a database has a thousand files, and a promise for each costs six times their bytes. */
export function copyFolder(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
}

/** Gives a run folder an empty ledger, unless it has one. */
export function giveLedger(run: string): void {
  cpSync(join(inject('template'), 'ledger'), join(run, 'ledger'), { recursive: true, force: false });
}
