import { LedgerCorruptError, LedgerError } from './errors.ts';
import { assertSameRun, type Journal, type JournaledErasure } from './journal.ts';
import type { Ledger } from './ledger.ts';

/**
 * Brings a ledger and its journal to the same erasures: those that only the journal has are carried out, under their own ids; those
 * that only the ledger has as completed (it is older than the journal) are added to the journal.
 * @returns how many were carried out
 */
export async function catchUp(
  ledger: Ledger,
  journal: Journal,
  erasures: readonly JournaledErasure[],
): Promise<number> {
  const run = await ledger.run();
  if (run === null) {
    if (erasures.length === 0) return 0;
    throw new LedgerError('journal', `${journal.file}: holds erasures, but the ledger holds no run`);
  }
  assertSameRun(journal.file, erasures, run.id);
  const rows = await ledger.erasures();
  for (const { id: erasure, state, requestDigest, receivedAt, acknowledgedAt, result } of rows) {
    if (state !== 'completed' || journal.has(erasure)) continue;
    const { commitments } = result;
    await journal.append({ run: run.id, erasure, requestDigest, receivedAt, commitments }, acknowledgedAt!);
  }
  const known = new Set(rows.map(({ id }) => id));
  const missed = erasures.filter(({ erasure }) => !known.has(erasure));
  if (missed.length === 0) return 0;
  const wanted = new Set(missed.flatMap(({ commitments }) => commitments));
  for (const commitment of await ledger.erasedCommitments()) wanted.delete(commitment);
  const keys = new Map<string, string>();
  for await (const { key } of ledger.records()) {
    const commitment = await ledger.commitment(key);
    if (wanted.has(commitment)) keys.set(commitment, key);
  }
  if (keys.size !== wanted.size)
    throw new LedgerCorruptError(
      `${journal.file}: names ${wanted.size} erased records, of which the ledger knows ${keys.size}`,
    );
  let done = 0;
  for (const { erasure, requestDigest, receivedAt, commitments } of missed) {
    const gone = commitments.flatMap((commitment) => keys.get(commitment) ?? []);
    if (gone.length === 0) continue;
    await ledger.erase({ keys: gone, requestDigest, receivedAt, id: erasure });
    done++;
  }
  return done;
}
