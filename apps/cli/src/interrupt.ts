import { Interrupted, SIGNAL_EXIT_CODES } from './errors.ts';
import { say } from './terminal/print.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** One Ctrl-C may arrive twice: from the terminal, and handed on by our launcher. */
const SAME_MS = 250;

/** Listening for the order to stop. */
export interface Interrupts extends Disposable {
  /** Aborts on the first signal: stop as soon as what is under way can be left. */
  readonly signal: AbortSignal;
  /** Which signal it was. */
  readonly received: NodeJS.Signals | undefined;
  /**
   * Throws what was caught: once we were told to stop, whatever it looks like from inside, as our own doing.
   * @param stopped what that means, for the person
   */
  rethrow(error: unknown, stopped: string): never;
}

/**
 * Catches Ctrl-C and its like until disposed. The first asks to stop, the second ends the process at once: what is in the run is safe either way.
 *
 * @param note what to tell the person who pressed it
 */
export function catchInterrupts(note: string): Interrupts {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  let at = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (received === undefined) {
      received = signal;
      at = performance.now();
      // Who sends another signal is a program, and waits for nothing but our end.
      if (signal === 'SIGINT') say(`\ns3t: ${note}`);
      controller.abort(new Error(`stopped by ${signal}`));
    } else if (performance.now() - at > SAME_MS) {
      process.exit(SIGNAL_EXIT_CODES[signal] ?? 1);
    }
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    signal: controller.signal,
    get received() {
      return received;
    },
    rethrow(error, stopped) {
      throw controller.signal.aborted ? new Interrupted(received ?? 'SIGINT', stopped) : error;
    },
    [Symbol.dispose]() {
      for (const name of SIGNALS) process.off(name, onSignal);
    },
  };
}
