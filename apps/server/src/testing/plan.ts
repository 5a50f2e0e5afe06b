/** A stage the stand-in's run should have. */
export interface Wanted {
  id: string;
  shard: number;
  sequence: number;
  position: number;
  /** Its lineage. */
  slices: number[];
}

/** `budget` orders of the slices, each shifted. */
export function cyclicOrders(slices: number, budget: number): number[][] {
  const shift = Math.max(1, Math.floor(slices / budget));
  return Array.from({ length: budget }, (_, sequence) =>
    Array.from({ length: slices }, (_, position) => (position + sequence * shift) % slices),
  );
}

/** Every stage of every shard and order; its id changes with the revision of any slice in its lineage. */
export function wantedStages(orders: readonly number[][], revisions: readonly number[][]): Wanted[] {
  return revisions.flatMap((ofShard, shard) =>
    orders.flatMap((order, sequence) =>
      order.map((_, position) => {
        const slices = order.slice(0, position + 1);
        const id = digest(JSON.stringify([shard, slices.map((slice) => [slice, ofShard[slice]])]));
        return { id, shard, sequence, position, slices };
      }),
    ),
  );
}

/** 64 hex digits that depend on `text`: FNV-1a, stretched. */
export function digest(text: string): string {
  let hash = 0x811c9dc5;
  let hex = '';
  while (hex.length < 64) {
    for (const char of `${text}/${hex.length}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
    hex += hash.toString(16).padStart(8, '0');
  }
  return hex;
}
