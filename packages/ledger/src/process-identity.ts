import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Names one process, also after its pid was given to another. */
export interface ProcessIdentity {
  pid: number;
  host: string;
  /** Which boot of the machine; null where the system does not say. */
  boot: string | null;
  /** When it started, in clock ticks since boot; null where the system does not say. */
  started: string | null;
}

/** The process that runs this. */
export function thisProcess(): ProcessIdentity {
  return { pid: process.pid, host: hostname(), boot: bootId(), started: startTime(process.pid) };
}

/** Whether the process has certainly ended. False for one of another machine: nothing can be known about it from here. */
export function isGone({ pid, host, boot, started }: ProcessIdentity): boolean {
  if (host !== hostname()) return false;
  const now = bootId();
  if (boot !== null && now !== null && boot !== now) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return true;
  }
  const current = startTime(pid);
  return started !== null && current !== null && started !== current;
}

function bootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return null;
  }
}

/** Field 22 of /proc/<pid>/stat, counted after the command's name, which may itself hold spaces and brackets. A zombie has ended. */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'ended' : (fields[19] ?? null);
  } catch {
    return null;
  }
}
