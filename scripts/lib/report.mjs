/** How set-up talks: progress on stderr (stdout is the command's), failures as one line and what to type. */

/** A failure that its message explains completely: no stack trace is shown. */
export class SetupError extends Error {
  /**
   * @param {string} message one line: what is wrong
   * @param {string[]} [help] what to type, or why, line by line
   */
  constructor(message, help = []) {
    super(message);
    this.name = 'SetupError';
    this.help = help;
  }
}

/** We were told to end by a signal. */
export class Interrupted extends Error {
  /** @param {NodeJS.Signals} signal */
  constructor(signal) {
    super(`ended by ${signal}`);
    this.signal = signal;
  }
}

/** @param {string} line progress, for a person */
export function say(line) {
  process.stderr.write(`[setup] ${line}\n`);
}

/**
 * Prints why set-up failed and makes the process end with exit code 1.
 *
 * @param {unknown} error
 */
export function reportFailure(error) {
  process.exitCode = 1;
  if (error instanceof SetupError) {
    process.stderr.write([`[setup] failed: ${error.message}`, ...error.help, ''].join('\n'));
  } else if (error instanceof Interrupted) {
    process.kill(process.pid, error.signal);
  } else if (error?.code === 'EACCES' || error?.code === 'EPERM' || error?.code === 'EROFS') {
    process.stderr.write(
      `[setup] failed: this user cannot write ${error.path ?? 'the checkout'}\n` +
        'Set-up writes node_modules and .cache in the checkout: run it as the user who owns the checkout.\n',
    );
  } else {
    process.stderr.write(`[setup] failed: ${error?.stack ?? error}\n`);
  }
}
