import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { ActiveStage } from '@s3t/ledger';
import { decodeStage, writeAdapter, writeMergedModel } from '@s3t/model';
import { UnlearnerError } from './errors.ts';
import type { OpenedRun } from './open-run.ts';
import { groupsOf, stacksOf } from './setting.ts';
import { outputNames } from './tasks.ts';
import type { Export, ExportOptions } from './types.ts';

/** What an export was made of: whoever holds one can tell whether an erasure deactivated a part of it. */
const ABOUT = 's3t-export.json';

/** PEFT's words for tasks; it has none for pictures. */
const TASK_TYPES = {
  'image-classification': null,
  'text-classification': 'SEQ_CLS',
  'text-regression': 'SEQ_CLS',
  'causal-lm': 'CAUSAL_LM',
} as const;

/**
 * Writes the stages that a shard serves, or the first of them, into a new folder. It is there whole or not at all.
 * @param exclusively runs what no erasure may come between
 * @throws UnlearnerError `usage` for a shard, a depth or a folder that cannot be, `unavailable` when the shard serves nothing or
 * an erasure deactivates one of the stages meanwhile
 */
export async function exportStack(
  { ledger, base, form, located, run }: OpenedRun,
  { shard, depth, merge = false, out }: ExportOptions,
  exclusively: <T>(section: () => Promise<T>) => Promise<T>,
): Promise<Export> {
  const { config, folder } = located;
  if (await isThere(out)) throw new UnlearnerError('usage', `${out}: exists already; name a new folder`);
  const { stages, version } = await exclusively(async () => {
    const active = await ledger.activeStages();
    return { stages: chosen(active, run, shard, depth), version: await ledger.version() };
  });
  const groups = groupsOf(form, config);
  const about: Export = {
    out,
    kind: merge ? 'model' : 'adapter',
    shard,
    depth: stages.length,
    stages: stages.map(({ id, weights }) => ({ stage: id, weights })),
    base: base.digest,
    ...version,
  };
  const part = `${out}.part`;
  await rm(part, { recursive: true, force: true });
  try {
    const stack = [];
    for (const { weights, position } of stages) {
      const bytes = (await ledger.adapters.get(weights)) as Uint8Array<ArrayBuffer>;
      const layers = groups[position]!;
      stack.push({ layers, values: decodeStage(bytes, form, layers, ledger.adapters.path(weights)) });
    }
    await mkdir(part, { recursive: true });
    if (merge) await writeMergedModel(part, base, form, stack, outputNames(config));
    else {
      const [name, revision = null] =
        base.folder === resolve(folder, config.base) ? [base.folder] : config.base.split('@');
      await writeAdapter(part, form, stack, { base: name!, revision, taskType: TASK_TYPES[config.task] });
    }
    const { out: _, ...content } = about;
    await writeFile(join(part, ABOUT), `${JSON.stringify(content, null, 2)}\n`);
    await exclusively(async () => {
      const isActive = new Set((await ledger.activeStages()).map(({ shard, id }) => `${shard}/${id}`));
      if (!stages.every(({ id }) => isActive.has(`${shard}/${id}`)))
        throw new UnlearnerError('unavailable', 'records were erased during the export; export again');
      await rename(part, out);
    });
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  }
  return about;
}

/** The stages that a shard serves, top-down, as far as they are wanted. */
function chosen(
  active: readonly ActiveStage[],
  run: OpenedRun['run'],
  shard: number,
  depth: number | undefined,
): ActiveStage[] {
  const stack = stacksOf(active, run.sequences, run.shards).find((stack) => stack.shard === shard);
  if (!stack)
    throw new UnlearnerError(
      'usage',
      `shard: ${shard} is none of this run's ${run.shards}; they count from 0`,
    );
  if (stack.depth === 0)
    throw new UnlearnerError('unavailable', `shard: ${shard} serves nothing; train or repair it first`);
  const wanted = depth ?? stack.depth;
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > stack.depth)
    throw new UnlearnerError(
      'usage',
      `depth: ${wanted} is not from 1 to ${stack.depth}, which shard ${shard} serves`,
    );
  return stack.stages
    .slice(0, wanted)
    .map((id) => active.find((row) => row.shard === shard && row.id === id)!);
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
