import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Receipt } from '@s3t/unlearner';
import type { Target } from './choose.ts';
import { post } from './http.ts';
import { SECONDS_BETWEEN } from './settings.ts';
import type { Answered } from './traffic.ts';

/** An erasure that was acknowledged. */
export interface Erasure {
  target: Target;
  receipt: Receipt;
  /** When the acknowledgement was here, by `performance.now()`. */
  acknowledgedAt: number;
}

/** Erases the targets one after the other, with time for answers before and after each. */
export async function eraseAll(
  url: string,
  targets: readonly Target[],
  onErased: (erasure: Erasure) => void,
): Promise<Erasure[]> {
  const erasures: Erasure[] = [];
  await sleep(SECONDS_BETWEEN * 1000);
  for (const target of targets) {
    const { status, body } = await post<Receipt>(`${url}/v1/erasures`, { records: target.records });
    if (status !== 201) throw new Error(`the erasure was answered ${status}: ${JSON.stringify(body)}`);
    // Answers that were in this machine's sockets when the acknowledgement came are read in the same turn: they came before it.
    await nextTurn();
    const erasure = { target, receipt: body, acknowledgedAt: performance.now() };
    erasures.push(erasure);
    onErased(erasure);
    await sleep(SECONDS_BETWEEN * 1000);
  }
  return erasures;
}

/**
 * The answers that must not exist: received after an erasure was acknowledged, and computed with an ensemble from before it or with a stage
 * that it deactivated.
 *
 * @param stagesOf the stages of a manifest, where they are known
 */
export function findViolations(
  answers: readonly Answered[],
  erasures: readonly Erasure[],
  stagesOf: (manifest: string) => ReadonlySet<string> | undefined,
): Answered[] {
  return answers.filter(({ receivedAt, version, manifest }) =>
    erasures.some(({ acknowledgedAt, receipt }) => {
      if (receivedAt <= acknowledgedAt) return false;
      if (receipt.deactivated.length > 0 && version < receipt.after.version) return true;
      const stages = stagesOf(manifest);
      return stages !== undefined && receipt.deactivated.some(({ stage }) => stages.has(stage));
    }),
  );
}
