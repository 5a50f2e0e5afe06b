import type { Input, LabelScore } from '@s3t/unlearner';
import type { Context } from 'hono';
import { mayReadScores } from './access.ts';
import type { Answer } from './batcher.ts';
import { type Shared, stamp } from './context.ts';
import { Problem } from './problem.ts';
import { assertLength } from './text-limits.ts';

/** A version that moves this often while answers wait for a microtask is a fault, not traffic. */
const MAX_TRIES = 16;

/**
 * Answers inputs, says on the response which ensemble did, and rounds the scores for whoever may not read exact ones. The caller
 * returns the response without awaiting anything: from here to the adapter nothing but microtasks runs (see `computed`);
 * what lingers after it, `egress` knows of.
 */
export async function answer(shared: Shared, c: Context, inputs: readonly Input[]): Promise<Answer> {
  const { egress, metrics, options } = shared;
  assertLength(inputs);
  const { version, manifest, answers } = await computed(shared, c, inputs);
  egress.track(c.env, version);
  metrics.inputs.add(inputs.length);
  stamp(c, { version, manifest });
  if (options.fullScores || mayReadScores(c)) return { version, manifest, answers };
  return { version, manifest, answers: answers.map((scores) => coarse(scores, options.scoreDigits)) };
}

/**
 * Answers computed with the ensemble that is served as this resolves.
 *
 * The invariant: no answer computed with a deactivated stage is sent after its erasure was acknowledged. The run itself never
 * resolves `predict` with an ensemble it has swapped out. Between that and the socket an answer passes: the batcher (which resolves
 * all requests of a batch at once and keeps nothing), this check, the response, the middleware on its way out. All of these are
 * microtasks of one task, and an acknowledgement needs I/O after its swap, that is, a later task. The check below holds even
 * if a swap should happen between two of those microtasks: then the answer is computed again.
 */
async function computed(
  { batcher, service, metrics }: Shared,
  c: Context,
  inputs: readonly Input[],
): Promise<Answer> {
  const since = performance.now();
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const answer = await queued();
    if (answer.version === service.servedVersion) return answer;
    metrics.recomputed.add();
  }
  throw new Problem(503, 'unavailable', 'the ensemble changes too fast to answer', { retryAfter: 1 });

  async function queued(): Promise<Answer> {
    try {
      return await batcher.run(inputs, c.req.raw.signal, since);
    } catch (error) {
      if (error instanceof Problem && error.status === 429) metrics.rejected.add();
      throw error;
    }
  }
}

function coarse(scores: readonly LabelScore[], digits: number): LabelScore[] {
  return scores.map(({ label, score }) => ({ label, score: Number(score.toFixed(digits)) }));
}
