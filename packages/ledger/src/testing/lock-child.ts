// Takes the lock of a folder and holds it until it is told to stop; says whether it got it.
import { writeSync } from 'node:fs';
import { LedgerHeldError } from '../errors.ts';
import { acquireLock } from '../lock.ts';

const [folder = '', startAt = '0'] = process.argv.slice(2);
// All racers begin at the same moment, however long each took to start.
while (Date.now() < Number(startAt));
try {
  await acquireLock(folder);
  writeSync(1, `${JSON.stringify({ held: process.pid })}\n`);
  setInterval(() => {}, 1000);
} catch (error) {
  if (!(error instanceof LedgerHeldError)) throw error;
  writeSync(1, `${JSON.stringify({ refused: error.pid })}\n`);
}
