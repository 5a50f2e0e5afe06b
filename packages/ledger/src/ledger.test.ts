import { afterAll, describe } from 'vitest';
import { SharedPglite } from './testing/pglite.ts';
import { ledgerSuite } from './testing/suite.ts';

const shared = new SharedPglite();
afterAll(() => shared.remove());

describe('on PGlite', () => {
  ledgerSuite({ fresh: () => shared.fresh(), reopen: () => shared.reopen(), done: async () => {} });
});
