import type { Erased, ErasureRow } from '@s3t/ledger';
import type { Receipt, UnfinishedErasure } from './types.ts';

/** What an erasure did, as it is told to whoever asked for it. */
export function receiptOf(erased: Erased, receivedAt: number, acknowledgedAt: number): Receipt {
  return {
    erasure: erased.erasure,
    records: erased.records,
    deactivated: erased.deactivated.flatMap(({ stage, shard, sequences, position }) =>
      sequences.map((sequence) => ({ stage, shard, sequence, position })),
    ),
    before: erased.before,
    after: erased.after,
    acknowledgedMs: acknowledgedAt - receivedAt,
    receivedAt: new Date(receivedAt).toISOString(),
    acknowledgedAt: new Date(acknowledgedAt).toISOString(),
    ...(erased.dryRun ? { dryRun: true } : {}),
  };
}

/** The receipt of an erasure as the ledger keeps it; null when there is none or it is not finished. */
export function storedReceipt(row: Pick<ErasureRow, 'receipt' | 'repairedAt'> | null): Receipt | null {
  if (!row?.receipt) return null;
  const repaired = row.repairedAt === null ? {} : { repairedAt: new Date(row.repairedAt).toISOString() };
  return { ...(row.receipt as Receipt), ...repaired };
}

/** What is known of an erasure before it is acknowledged. */
export function unfinishedOf({
  result,
  receivedAt,
}: Pick<ErasureRow, 'result' | 'receivedAt'>): UnfinishedErasure {
  const { acknowledgedMs: _, acknowledgedAt: __, ...known } = receiptOf(result, receivedAt, receivedAt);
  return known;
}
