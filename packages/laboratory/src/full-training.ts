import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeStage } from '@s3t/model';
import type { RunConfig } from '@s3t/unlearner';
import { KeptActivations, type RunRecord, workStage } from '@s3t/unlearner/parts';
import { Journal, type Seconds, timed } from './journal.ts';
import type { MeasuredStage } from './prefixes.ts';
import { type Bench, fullTrainingId } from './stages.ts';

export interface FullTraining {
  stage: MeasuredStage;
  /** Null where it is not known: the training was there, and not what it took. */
  seconds: Seconds | null;
}

/**
 * Full PEFT training: the adapters of all groups at once, on all records, with the hyper-parameters of a stage. What it gives lies in `out`
 * under a name that says what it was trained on, and is not trained again.
 */
export async function trainFully(
  bench: Bench,
  config: RunConfig,
  records: readonly RunRecord[],
  out: string,
  {
    signal,
    onStep = () => {},
  }: { signal?: AbortSignal; onStep?: (step: number, steps: number) => void } = {},
): Promise<FullTraining> {
  const { base, form } = bench.prepared;
  const layers = bench.groups.flat();
  const id = fullTrainingId(bench, records);
  const file = join(out, `full-${id.slice(0, 16)}.safetensors`);
  const journal = new Journal<{ id: string; records: number; seconds: Seconds }>(join(out, 'full.jsonl'));
  const known = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (known) {
    const values = decodeStage(Uint8Array.from(known), form, layers, file);
    const line = (await journal.read()).find((one) => one.id === id);
    return { stage: { layers, values }, seconds: line?.seconds ?? null };
  }
  const { result, seconds } = await timed(async () => {
    const lowest = Math.min(...layers);
    const activations = await KeptActivations.compute({
      ...{ base, records, layers: [lowest], config, signal },
      // A folder of its own for rows on disk: the run's is the run's.
      folder: out,
    });
    const { meter } = bench;
    const context = { base, form, config, activations, meter, prefix: [], records, layers };
    const trained = await workStage(
      context,
      { id, position: 0 },
      ({ step, steps }) => onStep(step, steps),
      signal,
    );
    activations.clear();
    return trained;
  });
  await journal.add({ id, records: records.length, seconds });
  await writeFile(`${file}.part`, result.bytes);
  await rename(`${file}.part`, file);
  return { stage: { layers, values: result.values }, seconds };
}
