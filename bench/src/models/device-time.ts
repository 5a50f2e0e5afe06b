import { readdirSync, readFileSync } from 'node:fs';

const TASKS = '/proc/self/task';
/** Linux counts the time of threads in hundredths of a second. */
const TICK_MS = 10;

/**
 * Milliseconds that the threads of a software adapter (Mesa's llvmpipe) have computed in this process so far; null where there is
 * none. It is the device's work, however many others want the same cores. The threads that run kernels keep the name of the one
 * that made them, which is the main one; Node names its own.
 */
export function deviceMilliseconds(): number | null {
  let ticks = 0;
  let found = false;
  try {
    const nameOf = (task: string | number) => readFileSync(`${TASKS}/${task}/comm`, 'utf8');
    const main = nameOf(process.pid);
    for (const task of readdirSync(TASKS)) {
      const name = nameOf(task);
      found ||= name.startsWith('llvmpipe');
      if (name !== main || Number(task) === process.pid) continue;
      // Of what follows the name, fields 12 and 13: time as a user and in the system.
      const fields = readFileSync(`${TASKS}/${task}/stat`, 'utf8').split(') ')[1]!.split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    }
  } catch {
    return null;
  }
  return found ? ticks * TICK_MS : null;
}
