import { rm } from 'node:fs/promises';
import type { TestProject } from 'vitest/node';
import { openLedger } from '../open.ts';
import { temporaryFolder } from './run.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A run folder with an empty PGlite ledger. */
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
