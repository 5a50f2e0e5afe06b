// Tries to store more than it may write; prints how that ended.
import { AdapterStore } from '../adapter-store.ts';
import { LedgerError } from '../errors.ts';

const [folder = '', size = '0'] = process.argv.slice(2);
try {
  console.log(
    JSON.stringify({ digest: await new AdapterStore(folder).put(new Uint8Array(Number(size)).fill(7)) }),
  );
} catch (error) {
  if (!(error instanceof LedgerError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
