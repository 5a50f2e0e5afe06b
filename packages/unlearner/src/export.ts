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

/** An export that is under way. */
interface UnderWay {
  stages: readonly ActiveStage[];
  /** The folder as long as it is not whole. */
  part: string;
  stop: AbortController;
  /** Resolves once nothing is written any more. */
  ended: Promise<void>;
}

/** Exports of a run that is open. What is not whole yet is the run's: an erasure of what is in it is not acknowledged before it is gone. */
export class Exporting {
  readonly #opened: OpenedRun;
  readonly #exclusively: <T>(section: () => Promise<T>) => Promise<T>;
  readonly #underWay: Set<UnderWay> = new Set();

  /** @param exclusively runs what no erasure may come between */
  constructor(opened: OpenedRun, exclusively: <T>(section: () => Promise<T>) => Promise<T>) {
    this.#opened = opened;
    this.#exclusively = exclusively;
  }

  /**
   * Writes the stages that a shard serves, or the first of them, into a new folder. It is there whole or not at all.
   * @throws UnlearnerError `usage` for a shard, a depth or a folder that cannot be, `unavailable` when the shard serves nothing or
   * an erasure deactivates one of the stages meanwhile
   */
  async make({ shard, depth, merge = false, out, signal }: ExportOptions): Promise<Export> {
    const { ledger, base, run } = this.#opened;
    // Without the slash that somebody may have written behind its name: the part lies beside it, not in it.
    const target = resolve(out);
    if (await isThere(target)) throw new UnlearnerError('usage', `${out}: exists already; name a new folder`);
    const part = `${target}.part`;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const stop = new AbortController();
    const { underWay, version } = await this.#exclusively(async () => {
      const stages = chosen(await ledger.activeStages(), run, shard, depth);
      const version = await ledger.version();
      const underWay = { stages, part, stop, ended };
      this.#underWay.add(underWay);
      return { underWay, version };
    });
    const { stages } = underWay;
    const about: Export = {
      out,
      kind: merge ? 'model' : 'adapter',
      shard,
      depth: stages.length,
      stages: stages.map(({ id, weights }) => ({ stage: id, weights })),
      base: base.digest,
      ...version,
    };
    const stopped = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]);
    try {
      await rm(part, { recursive: true, force: true });
      await this.#write(part, about, stages, stopped);
      stopped.throwIfAborted();
      await rename(part, target);
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      stopped.throwIfAborted();
      throw error;
    } finally {
      this.#underWay.delete(underWay);
      end();
    }
    return about;
  }

  async #write(
    part: string,
    { out: _, ...about }: Export,
    stages: readonly ActiveStage[],
    signal: AbortSignal,
  ): Promise<void> {
    const { ledger, base, form, located } = this.#opened;
    const { config, folder } = located;
    const groups = groupsOf(form, config);
    const stack = [];
    for (const { weights, position } of stages) {
      signal.throwIfAborted();
      const bytes = (await ledger.adapters.get(weights)) as Uint8Array<ArrayBuffer>;
      const layers = groups[position]!;
      stack.push({ layers, values: decodeStage(bytes, form, layers, ledger.adapters.path(weights)) });
    }
    signal.throwIfAborted();
    await mkdir(part, { recursive: true });
    if (about.kind === 'model') await writeMergedModel(part, base, form, stack, outputNames(config), signal);
    else {
      const [name, revision = null] =
        base.folder === resolve(folder, config.base) ? [base.folder] : config.base.split('@');
      await writeAdapter(part, form, stack, { base: name!, revision, taskType: TASK_TYPES[config.task] });
    }
    await writeFile(join(part, ABOUT), `${JSON.stringify(about, null, 2)}\n`);
  }

  /** Stops exports that hold one of these weights, and waits until nothing is left of what they wrote. */
  async drop(weights: readonly string[]): Promise<void> {
    const dropped = [...this.#underWay].filter(({ stages }) =>
      stages.some((stage) => weights.includes(stage.weights)),
    );
    const erased = 'records were erased during the export; export again';
    for (const { stop } of dropped) stop.abort(new UnlearnerError('unavailable', erased));
    for (const { ended, part } of dropped) {
      await ended;
      // Where the export could not remove it, the erasure cannot be acknowledged.
      await rm(part, { recursive: true, force: true });
    }
  }
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
