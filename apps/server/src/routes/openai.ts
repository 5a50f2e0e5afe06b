import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import * as v from 'valibot';
import type { Shared } from '../context.ts';
import { inputFields } from '../input-fields.ts';
import { json, problemsAs } from '../openapi.ts';
import { Problem } from '../problem.ts';

/** `/v1/models` as OpenAI has it. Errors are `{error: {message, type, param, code}}`. */
export function openaiRoutes({ service, options, access }: Shared): Hono {
  const model = () => ({
    id: options.modelName,
    object: 'model' as const,
    created: Math.floor(service.createdAt / 1000),
    owned_by: 's3t',
    task: service.task,
    reads: service.reads,
    fields: inputFields(service),
  });
  const routes = new Hono();
  routes.get('/v1/models', access.allow('inference'), describeList, (c) =>
    c.json({ object: 'list', data: [model()] }),
  );
  routes.get('/v1/models/:model', access.allow('inference'), describeOne, (c) => {
    if (c.req.param('model') !== options.modelName)
      throw new Problem(404, 'model_not_found', 'there is no such model here', { path: 'model' });
    return c.json(model());
  });
  return routes;
}

export const errorSchema: v.GenericSchema<unknown> = v.object({
  error: v.object({ message: v.string(), type: v.string(), param: v.nullable(v.string()), code: v.string() }),
});
const modelSchema = v.object({
  id: v.string(),
  object: v.literal('model'),
  created: v.pipe(v.number(), v.description('Seconds since 1970.')),
  owned_by: v.string(),
  task: v.pipe(v.string(), v.description('Not of OpenAI: what the run does. A `causal-lm` continues texts.')),
  reads: v.pipe(v.picklist(['image', 'text']), v.description('Not of OpenAI: what an input is.')),
  fields: v.pipe(
    v.array(v.string()),
    v.description("Not of OpenAI: the fields of a row of the run's data that an input is made of."),
  ),
});

const describeList = describeRoute({
  operationId: 'models',
  summary: 'OpenAI: the models there are, which is one',
  responses: {
    200: {
      description: 'The list.',
      content: json(v.object({ object: v.literal('list'), data: v.array(modelSchema) })),
    },
    ...problemsAs(errorSchema),
  },
});

const describeOne = describeRoute({
  operationId: 'model',
  summary: 'OpenAI: one model',
  parameters: [{ in: 'path', name: 'model', required: true, schema: { type: 'string' } }],
  responses: {
    200: { description: 'The model.', content: json(modelSchema) },
    ...problemsAs(errorSchema, 404),
  },
});
