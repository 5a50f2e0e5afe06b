/**
 * Maps with up to 32 calls under way, results in order. If calls fail, the error is that of the first item in order, not the first in time:
 * the same data gives the same error.
 */
export async function mapInOrder<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += 32) {
    const chunk = items.slice(start, start + 32);
    for (const outcome of await Promise.allSettled(chunk.map((item, i) => work(item, start + i)))) {
      if (outcome.status === 'rejected') throw outcome.reason;
      results.push(outcome.value);
    }
  }
  return results;
}
