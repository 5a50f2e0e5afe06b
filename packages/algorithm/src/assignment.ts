/**
 * The perfect matching of greatest total weight (Hungarian method with shortest augmenting paths, O(n^3)), and of several the
 * lexicographically first: row 0 gets the earliest column that any of them gives it, then row 1, and so on.
 *
 * @param weights n x n integers small enough that n times the greatest is a safe integer, so that all arithmetic is exact and a tie is a
 *   tie; `-Infinity` forbids a pair. A perfect matching must exist.
 * @returns the column of every row
 */
export function assign(weights: readonly (readonly number[])[]): number[] {
  const { columnOf, isTight } = optimal(weights);
  const rowOf: number[] = [];
  for (const [row, column] of columnOf.entries()) rowOf[column] = row;
  for (let row = 0; row < weights.length; row++) {
    const own = columnOf[row]!;
    // For all columns of the row: from what a search has seen in vain nothing leads to the free one, as it has changed nothing.
    const seen = new Set<number>();
    for (let column = 0; column < own; column++) {
      if (seen.has(column) || !isTight(row, column) || rowOf[column]! < row) continue;
      // Every optimal matching is made of tight pairs, and every matching of tight pairs is optimal: the row may take the column if whoever
      // holds it can do without, along pairs of later rows that end in the column that becomes free.
      seen.add(column);
      const settle = (other: number): boolean => {
        for (let next = 0; next < weights.length; next++) {
          if (seen.has(next) || !isTight(other, next) || rowOf[next]! < row) continue;
          seen.add(next);
          if (next !== own && !settle(rowOf[next]!)) continue;
          columnOf[other] = next;
          rowOf[next] = other;
          return true;
        }
        return false;
      };
      if (!settle(rowOf[column]!)) continue;
      columnOf[row] = column;
      rowOf[column] = row;
      break;
    }
  }
  return columnOf;
}

/** An optimal matching, and which pairs optimal matchings may use: those without slack in the dual solution. */
function optimal(weights: readonly (readonly number[])[]): {
  columnOf: number[];
  isTight: (row: number, column: number) => boolean;
} {
  const size = weights.length;
  const rowPrice = new Array<number>(size).fill(0);
  const columnPrice = new Array<number>(size).fill(0);
  const slackOf = (row: number, column: number): number =>
    -weights[row]![column]! - rowPrice[row]! - columnPrice[column]!;
  const rowOf = new Array<number>(size).fill(-1);
  for (let start = 0; start < size; start++) {
    // The cheapest alternating path from `start` to a free column (Dijkstra over columns).
    const distance = new Array<number>(size).fill(Infinity);
    const before = new Array<number>(size).fill(-1);
    const reached: number[] = [];
    const isReached = new Uint8Array(size);
    let row = start;
    let column = -1;
    let travelled = 0;
    for (;;) {
      let nearest = -1;
      for (let next = 0; next < size; next++) {
        if (isReached[next] === 1) continue;
        const through = travelled + slackOf(row, next);
        if (through < distance[next]!) {
          distance[next] = through;
          before[next] = column;
        }
        if (nearest < 0 || distance[next]! < distance[nearest]!) nearest = next;
      }
      column = nearest;
      travelled = distance[column]!;
      if (rowOf[column] === -1) break;
      reached.push(column);
      isReached[column] = 1;
      row = rowOf[column]!;
    }
    rowPrice[start]! += travelled;
    for (const passed of reached) {
      rowPrice[rowOf[passed]!]! += travelled - distance[passed]!;
      columnPrice[passed]! -= travelled - distance[passed]!;
    }
    for (; column !== -1; column = before[column]!) {
      const previous = before[column]!;
      rowOf[column] = previous === -1 ? start : rowOf[previous]!;
    }
  }
  const columnOf: number[] = [];
  for (const [column, row] of rowOf.entries()) columnOf[row] = column;
  return { columnOf, isTight: (row, column) => slackOf(row, column) === 0 };
}
