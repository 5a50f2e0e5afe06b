import { type Context, Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import * as v from 'valibot';
import { answer } from '../answer.ts';
import { readBody } from '../body.ts';
import { type Shared, stamp } from '../context.ts';
import {
  inferResponseSchema,
  inferSchema,
  inputsOfTensor,
  modelMetadata,
  modelMetadataSchema,
  outputsOf,
} from '../open-inference.ts';
import { json, openProblems, problemsAs, VERSION } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { assertReady } from './health.ts';

/** Paths of the one model there is, with and without its version. */
const MODEL = ['/v2/models/:model', '/v2/models/:model/versions/:version'] as const;

/** The Open Inference Protocol (V2), as clients of KServe and Triton speak it. Errors are `{error}`. */
export function openInferenceRoutes(shared: Shared): Hono {
  const { service, options, access, current, images } = shared;
  const schema = inferSchema(service.reads);
  const routes = new Hono();

  routes.get('/v2', access.allow('inference'), describeServer, (c) =>
    c.json({ name: 's3t', version: VERSION, extensions: ['classification'] }),
  );
  routes.get('/v2/health/live', describeLive, (c) => c.json({ live: true }));
  routes.get('/v2/health/ready', describeReady, async (c) => {
    stamp(c, await assertReady(shared));
    return c.json({ ready: true });
  });

  for (const path of MODEL) {
    routes.get(path, access.allow('inference'), describeModel(path), async (c) => {
      const { version } = await named(c);
      return c.json(modelMetadata(options.modelName, version, service));
    });
    routes.get(`${path}/ready`, access.allow('inference'), describeModelReady(path), async (c) => {
      await named(c);
      stamp(c, await assertReady(shared));
      return c.json({ name: options.modelName, ready: true });
    });
    routes.post(`${path}/infer`, access.allow('inference'), describeInfer(path, schema), async (c) => {
      await named(c);
      const body = await readBody(c, schema, { fields: ['inputs'], items: options.maxBatch });
      const [tensor] = body.inputs;
      using found = await inputsOfTensor(tensor!, options.maxBatch, images, c.req.raw.signal);
      const answered = await answer(shared, c, found.inputs);
      // It was served when it was asked for, and is not any more.
      assertVersion(c, answered.version);
      return c.json({
        ...{ model_name: options.modelName, model_version: String(answered.version), id: body.id },
        outputs: outputsOf(answered, service.labels, body.outputs),
      });
    });
  }
  return routes;

  /** The version served now, if it is the model and version that the path names. */
  async function named(c: Context): Promise<{ version: number }> {
    if (c.req.param('model') !== options.modelName)
      throw new Problem(404, 'unknown-model', 'there is no such model here; see /v1/models');
    const served = await current.get();
    assertVersion(c, served.version);
    return served;
  }
}

/** Only what is served now can be asked for: an older ensemble may hold what was erased, and a later one is not there yet. */
function assertVersion(c: Context, served: number): void {
  const version = c.req.param('version');
  if (version !== undefined && version !== String(served))
    throw new Problem(404, 'unknown-version', 'this version is not served; leave it out for the one that is');
}

const errorSchema = v.object({ error: v.string() });
const text = { type: 'string' } as const;
const parametersOf = (path: (typeof MODEL)[number]) =>
  (path === MODEL[0] ? ['model'] : ['model', 'version']).map(
    (name) => ({ in: 'path', name, required: true, schema: text }) as const,
  );
const suffix = (path: (typeof MODEL)[number]): string => (path === MODEL[0] ? '' : 'Version');

const describeServer = describeRoute({
  operationId: 'v2Server',
  summary: 'Open Inference Protocol: the server',
  responses: {
    200: {
      description: 'Its name, version and extensions.',
      content: json(v.object({ name: v.string(), version: v.string(), extensions: v.array(v.string()) })),
    },
    ...problemsAs(errorSchema),
  },
});

const describeLive = describeRoute({
  operationId: 'v2Live',
  summary: 'Open Inference Protocol: whether the process answers',
  security: [],
  responses: { 200: { description: 'It does.', content: json(v.object({ live: v.boolean() })) } },
});

const describeReady = describeRoute({
  operationId: 'v2Ready',
  summary: 'Open Inference Protocol: whether predictions are answered',
  security: [],
  responses: {
    200: { description: 'They are.', content: json(v.object({ ready: v.boolean() })) },
    ...openProblems(errorSchema, 503),
  },
});

const describeModel = (path: (typeof MODEL)[number]): ReturnType<typeof describeRoute> =>
  describeRoute({
    operationId: `v2Model${suffix(path)}`,
    summary: 'Open Inference Protocol: what the model takes and gives',
    parameters: parametersOf(path),
    responses: {
      200: { description: 'Its tensors.', content: json(modelMetadataSchema) },
      ...problemsAs(errorSchema, 404),
    },
  });

const describeModelReady = (path: (typeof MODEL)[number]): ReturnType<typeof describeRoute> =>
  describeRoute({
    operationId: `v2ModelReady${suffix(path)}`,
    summary: 'Open Inference Protocol: whether the model answers',
    parameters: parametersOf(path),
    responses: {
      200: { description: 'It does.', content: json(v.object({ name: v.string(), ready: v.boolean() })) },
      ...problemsAs(errorSchema, 404, 503),
    },
  });

const describeInfer = (
  path: (typeof MODEL)[number],
  schema: ReturnType<typeof inferSchema>,
): ReturnType<typeof describeRoute> =>
  describeRoute({
    operationId: `v2Infer${suffix(path)}`,
    summary: 'Open Inference Protocol: scores and labels of images or texts',
    description:
      'Scores stand in the order of the labels that the metadata of the model tells. Tensors are JSON; the binary extension is not taken.',
    parameters: parametersOf(path),
    requestBody: { required: true, content: json(schema) },
    responses: {
      200: { description: 'The tensors asked for.', content: json(inferResponseSchema) },
      ...problemsAs(errorSchema, 400, 404, 413, 415, 503),
    },
  });
