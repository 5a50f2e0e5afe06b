/** Called wrongly, configured wrongly, or given what cannot be used: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** It did not work: exit code 1. */
export class CommandError extends Error {
  override name = 'CommandError';
}

/** We were told to stop by a signal, and did. */
export class Interrupted extends Error {
  override name = 'Interrupted';
  readonly signal: NodeJS.Signals;
  constructor(signal: NodeJS.Signals, message: string) {
    super(message);
    this.signal = signal;
  }
}

/** As shells report a process that a signal ended. */
export const SIGNAL_EXIT_CODES: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
};

/** The errors of other packages are told by name and code: naming their classes here would load them for every `--help`. */
const USAGE_NAMES = new Set([
  'UsageError',
  'SequenceError',
  'AlgorithmError',
  'DataError',
  'ModelError',
  'OptionError',
]);
/** Of a run, and of a server that says the same of what it was sent. */
const USAGE_CODES = new Set([
  ...['config', 'usage', 'data', 'base', 'unknown-record', 'unknown-subject'],
  ...['invalid', 'too-many', 'too-large'],
]);
/** Their messages are meant for people, as they are. */
const CLEAR_NAMES = new Set([
  'CommandError',
  'UnlearnerError',
  'ServerError',
  'AdapterError',
  'LaboratoryError',
]);

/** What to tell about an error, in one line, and the exit code it means. */
export function explain(error: unknown): { message: string; exitCode: number } {
  if (!(error instanceof Error)) return { message: oneLine(String(error)), exitCode: 1 };
  const { code, option, path, status } = error as Error &
    Record<'code' | 'option' | 'path' | 'status', unknown>;
  // A server names the field apart from what is wrong with it.
  const place = error.name === 'ServerError' && typeof path === 'string' ? `${path}: ` : '';
  const hint =
    error.name === 'ServerError' && status === 401 ? '; set S3T_API_KEY to one that the server knows' : '';
  const message = oneLine(place + (error.message || error.name) + hint);
  if (error instanceof Interrupted) return { message, exitCode: SIGNAL_EXIT_CODES[error.signal] ?? 1 };
  if (error.name === 'SequenceError') return { message: `--${option}: ${message}`, exitCode: 2 };
  if (USAGE_NAMES.has(error.name) || USAGE_CODES.has(String(code))) return { message, exitCode: 2 };
  if (CLEAR_NAMES.has(error.name) || typeof code === 'string') return { message, exitCode: 1 };
  return { message: `${message} (unexpected; S3T_DEBUG=1 shows where)`, exitCode: 1 };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
