import type { LabelScore } from '@s3t/unlearner';
import { type Context, Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type { Answer } from '../batcher.ts';
import { readBody } from '../body.ts';
import { type Shared, stamp } from '../context.ts';
import { inputsOf } from '../inputs.ts';
import { json, problems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { predictionSchema, predictSchema } from '../schemas.ts';

/** A version that moves this often while answers wait for a microtask is a fault, not traffic. */
const MAX_TRIES = 16;

export function predictRoutes(shared: Shared): Hono {
  const { options, egress, metrics } = shared;
  const schema = predictSchema(options);
  const description = describeRoute({
    operationId: 'predict',
    summary: 'Labels for images or texts',
    requestBody: { required: true, content: json(schema) },
    responses: {
      200: { description: 'The answers, in order.', content: json(predictionSchema) },
      ...problems(400, 413, 415, 429, 503),
    },
  });
  return new Hono().post('/v1/predict', description, async (c) => {
    const { inputs, top = options.top } = await readBody(c, schema, {
      field: 'inputs',
      items: options.maxBatch,
    });
    const answer = await answered(shared, c, inputsOf(inputs));
    // From here to the adapter nothing but microtasks runs (see `answered`); what lingers after it, `egress` knows of.
    egress.track(c.env, answer.version);
    metrics.inputs.add(inputs.length);
    stamp(c, answer);
    const { version, manifest } = answer;
    const answers = answer.answers.map((scores) => coarse(scores.slice(0, top), options.scoreDigits));
    return c.json({ version, manifest, answers });
  });
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
async function answered(
  { batcher, service, metrics }: Shared,
  c: Context,
  inputs: ReturnType<typeof inputsOf>,
): Promise<Answer> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const answer = await queued();
    if (answer.version === service.servedVersion) return answer;
    metrics.recomputed.add();
  }
  throw new Problem(503, 'unavailable', 'the ensemble changes too fast to answer', { retryAfter: 1 });

  async function queued(): Promise<Answer> {
    try {
      return await batcher.run(inputs, c.req.raw.signal);
    } catch (error) {
      if (error instanceof Problem && error.status === 429) metrics.rejected.add();
      throw error;
    }
  }
}

function coarse(scores: readonly LabelScore[], digits: number): LabelScore[] {
  return scores.map(({ label, score }) => ({ label, score: Number(score.toFixed(digits)) }));
}
