import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { answer } from '../answer.ts';
import { readBody } from '../body.ts';
import type { Shared } from '../context.ts';
import { inputsOf } from '../inputs.ts';
import { json, problems } from '../openapi.ts';
import { predictionSchema, predictSchema } from '../schemas.ts';

export function predictRoutes(shared: Shared): Hono {
  const { options, access } = shared;
  const schema = predictSchema(options);
  const description = describeRoute({
    operationId: 'predict',
    summary: 'Labels for images or texts',
    requestBody: { required: true, content: json(schema) },
    responses: {
      200: { description: 'The answers, in order.', content: json(predictionSchema) },
      ...problems(400, 413, 415, 503),
    },
  });
  return new Hono().post('/v1/predict', access.allow('inference'), description, async (c) => {
    const { inputs, top = options.top } = await readBody(c, schema, {
      fields: ['inputs'],
      items: options.maxBatch,
    });
    const { version, manifest, answers } = await answer(shared, c, inputsOf(inputs));
    return c.json({ version, manifest, answers: answers.map((scores) => scores.slice(0, top)) });
  });
}
