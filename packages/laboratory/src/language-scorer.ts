import { Ensemble, type Example, placeStage, type StageValues } from '@s3t/model';
import type { RunConfig } from '@s3t/unlearner';
import { LaboratoryError } from './errors.ts';
import type { MeasuredStage } from './prefixes.ts';
import type { Scorer } from './scorer.ts';
import { type Bench, chainOf } from './stages.ts';

/**
 * Of a language model the logits of a text are too many to keep: every ensemble runs anew. What is measured is the share of tokens that the
 * ensemble's mean logits foretell.
 */
export function openLanguageScorer(
  config: RunConfig,
  bench: Bench,
  trained: ReadonlyMap<string, StageValues>,
  examples: readonly Example[],
): Scorer {
  const { base, form } = bench.prepared;
  const language = base.language!;
  const learnt = config.training.learn ?? 'all';
  const texts = examples
    .map((example) => ({ inputs: base.encode(example), next: language.nextTokens(example, learnt) }))
    .filter(({ next }) => next.weights.some((weight) => weight > 0));
  if (texts.length === 0)
    throw new LaboratoryError('data', `${config.data.eval}: no response fits into data.maxLength`);
  const scoreOf = async (stacks: readonly (readonly MeasuredStage[])[]): Promise<number> => {
    const tensors: { destroy(): void }[] = [];
    const ensemble = new Ensemble(
      base,
      stacks.map((stages, shard) => ({
        shard,
        stages: stages.map(({ layers, values }) => {
          const { stage, parameters } = placeStage(base.device, form, layers, values, 'serve');
          tensors.push(...parameters.values());
          return { layers, stage };
        }),
      })),
      form.outputs,
    );
    try {
      let [right, tokens] = [0, 0];
      for (const { inputs, next } of texts) {
        const scores = await ensemble.tokenScores(inputs, next);
        right += scores.ensemble.right;
        tokens += scores.tokens;
      }
      return right / tokens;
    } finally {
      ensemble.dispose();
      for (const tensor of tensors) tensor.destroy();
    }
  };
  return {
    metric: 'accuracy',
    examples: texts.length,
    nothing: 0,
    score: (served) =>
      scoreOf(
        served.flatMap((slices, shard) => {
          if (!slices) return [];
          const stage = bench.plan.find((one) => one.shard === shard && `${one.slices}` === `${slices}`)!;
          return [chainOf(bench, stage, trained)];
        }),
      ),
    scoreOf,
  };
}
