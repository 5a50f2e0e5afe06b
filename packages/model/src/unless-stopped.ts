/** Waits for something, or until it is stopped. @throws what the signal aborts with */
export async function unlessStopped<T>(waits: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return waits;
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(signal.reason);
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    return await Promise.race([stopped.promise, waits]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
