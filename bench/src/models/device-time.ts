import { readdirSync, readFileSync } from 'node:fs';

const TASKS = '/proc/self/task';

/**
 * Milliseconds that the threads of a software adapter (Mesa's llvmpipe) have computed in this process so far; null where there are
 * none. It is the device's work, however many others want the same cores.
 */
export function deviceMilliseconds(): number | null {
  let found = false;
  let nanoseconds = 0;
  try {
    for (const task of readdirSync(TASKS)) {
      if (!readFileSync(`${TASKS}/${task}/comm`, 'utf8').startsWith('llvmpipe')) continue;
      found = true;
      nanoseconds += Number(readFileSync(`${TASKS}/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
  } catch {
    return null;
  }
  return found ? nanoseconds / 1e6 : null;
}
