import { type Device, uniformValues } from '@s3t/engine';
import { adapterGroups, Ensemble, type EnsembleStack, placeStage } from '@s3t/model';
import { formOf, GROUPS, randomStage, randomVit, SIZE } from './base.ts';
import { type Cost, interleaved, type ModelRow, ratioOf } from './report.ts';

const SHARDS = 5;

/**
 * The answers of five shards at a depth d of L, beside those of one model: one shard's at full depth. Counting layers, the trunk
 * is shared and the rest runs five times.
 */
export async function measureEnsemble(device: Device, rounds: number): Promise<ModelRow[]> {
  const base = await randomVit(device, SIZE);
  const form = formOf(base);
  const groups = adapterGroups(SIZE.num_hidden_layers, GROUPS);
  const stackOf = (shard: number, depth: number): EnsembleStack => ({
    shard,
    stages: groups.slice(0, depth).map((layers, position) => {
      const values = randomStage(form, layers, 10 * shard + position);
      return { layers, stage: placeStage(device, form, layers, values, 'serve').stage };
    }),
  });
  const one = new Ensemble(base, [stackOf(0, GROUPS)], form.outputs);
  const batch = one.largestBatch;
  const side = SIZE.image_size;
  const pixels = uniformValues(batch * 3 * side * side, 1, [2, 0], 0);
  const answer = (ensemble: Ensemble) => () => ensemble.forward({ pixels }, batch);
  const rows: ModelRow[] = [];
  for (let depth = 1; depth <= GROUPS; depth++) {
    const stacks = Array.from({ length: SHARDS }, (_, shard) => stackOf(shard, depth));
    const ensemble = new Ensemble(base, stacks, form.outputs);
    const works = [answer(one), answer(ensemble)];
    await interleaved(2, works);
    const [single, all] = (await interleaved(rounds, works)) as [Cost, Cost];
    ensemble.dispose();
    const { ratio, by } = ratioOf(all, single);
    const share = depth / GROUPS;
    const counted = 1 - share + SHARDS * share;
    rows.push({
      what: `${SHARDS} shards at depth ${depth} of ${GROUPS}`,
      ...{ ms: all.ms, reference: 'one model', referenceMs: single.ms },
      ...{ ratio: ratio / counted, aim: 1.05, atLeast: false },
      note: `${ratio.toFixed(2)}x ${by}, counting layers says ${counted.toFixed(2)}x; ${batch} records`,
    });
  }
  one.dispose();
  return rows;
}
