import { afterAll, describe } from 'vitest';
import { erasureSuite } from './testing/erasure-suite.ts';
import { logSuite } from './testing/log-suite.ts';
import { SharedPglite } from './testing/pglite.ts';
import { runSuite } from './testing/run-suite.ts';

const shared = new SharedPglite();
afterAll(() => shared.remove());

describe('on PGlite', () => {
  const stand = { fresh: () => shared.fresh(), reopen: () => shared.reopen(), done: async () => {} };
  runSuite(stand);
  erasureSuite(stand);
  logSuite(stand);
});
