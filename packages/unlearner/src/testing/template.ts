import { rm } from 'node:fs/promises';
import { openLedger } from '@s3t/ledger';
import type { TestProject } from 'vitest/node';
import { temporaryFolder } from './temporary.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A run folder with an empty ledger. */
    template: string;
  }
}

/** Once for all test files: creating a PGlite database takes seconds, copying one does not. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await temporaryFolder();
  await (await openLedger({ store: 'file:', folder })).close();
  project.provide('template', folder);
  return () => rm(folder, { recursive: true, force: true });
}
