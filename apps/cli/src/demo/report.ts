import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DeactivatedStage } from '@s3t/unlearner';
import type { Comparison } from './compare.ts';

/** What runs/demo/report.json holds. */
export interface Report {
  /** Shares of the evaluation digits that the service answered right. */
  accuracy: { before: number; afterErasure: number; afterRepair: number };
  erasures: { records: number; acknowledgedMs: number; deactivated: readonly DeactivatedStage[] }[];
  /** Answers after an acknowledgement that were computed with what it deactivated. */
  violations: number;
  verify: Comparison;
  seconds: { train: number; repair: number; total: number };
}

export async function writeReport(folder: string, report: Report): Promise<string> {
  const file = join(folder, 'report.json');
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  return file;
}

/** What is wrong with a run of the demo; nothing, if all is well. */
export function failures({ accuracy, violations, verify }: Report, minimum: number): string[] {
  const low = [
    ['before the erasures', accuracy.before],
    ['after the repair', accuracy.afterRepair],
  ] as const;
  return [
    ...(violations > 0 ? [`${violations} answers came from deactivated stages`] : []),
    ...(verify.identical ? [] : ['the repaired stages differ from those trained without the erased records']),
    ...low
      .filter(([, value]) => value < minimum)
      .map(([when, value]) => `accuracy ${when} is ${value}, below ${minimum}`),
  ];
}
