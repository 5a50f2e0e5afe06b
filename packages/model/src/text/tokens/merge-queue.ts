/** Places in a word are below this. */
const PLACES = 2 ** 26;

/** Merges to do, the lowest rank first, of one rank the leftmost: a binary heap of numbers, each rank and place in one. */
export class MergeQueue {
  readonly #heap: number[] = [];
  /** What the last pop took. */
  rank = 0;
  at = 0;

  push(rank: number, at: number): void {
    const heap = this.#heap;
    const value = rank * PLACES + at;
    let child = heap.push(value) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]! <= value) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = value;
  }

  /** Takes the first into `rank` and `at`. @returns whether there was one */
  pop(): boolean {
    const heap = this.#heap;
    if (heap.length === 0) return false;
    const first = heap[0]!;
    this.at = first % PLACES;
    this.rank = (first - this.at) / PLACES;
    const value = heap.pop()!;
    const size = heap.length;
    if (size === 0) return true;
    let parent = 0;
    for (let child = 1; child < size; child = 2 * parent + 1) {
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[parent] = heap[child]!;
      parent = child;
    }
    heap[parent] = value;
    return true;
  }
}
