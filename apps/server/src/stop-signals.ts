import type { Serving } from './serve.ts';

/** Drains on SIGTERM and SIGINT, where `process` tells of them (Node and Bun): a second one kills. */
export function closeOnSignals(serving: Serving): void {
  const stop = (): void => {
    // Without our handlers a second signal does what it does by default.
    process.off('SIGTERM', stop).off('SIGINT', stop);
    serving.close().catch((error) => console.error(error));
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  serving.closed.finally(() => process.off('SIGTERM', stop).off('SIGINT', stop)).catch(() => {});
}
