import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import * as v from 'valibot';
import { answer } from '../answer.ts';
import { readBody } from '../body.ts';
import type { Shared } from '../context.ts';
import { type ImageFiles, plainInputs, type RequestInputs } from '../image-files.ts';
import { base64Bytes } from '../inputs.ts';
import { json, problemsAs, VERSION } from '../openapi.ts';
import { textSchema as text } from '../text-limits.ts';

const file = v.pipe(v.string(), v.description('A PNG, JPEG, GIF or WebP file as base64, or as a data: URL.'));
const texts = v.pipe(v.array(text), v.minLength(1), v.maxLength(2));
const errorSchema = v.object({ error: v.string(), error_type: v.string() });
const scores = v.array(v.object({ label: v.string(), score: v.number() }));

interface TeiBody {
  inputs: string | string[] | string[][];
  raw_scores?: false | undefined;
  truncate?: boolean | null | undefined;
  truncation_direction?: string | undefined;
}

/**
 * `/predict` and `/info` as Text Embeddings Inference has them. One input is answered with its labels, a batch with a list of them, best
 * first. Where a run reads images, an image file stands for a text. Errors are `{error, error_type}`.
 */
export function teiRoutes(shared: Shared): Hono {
  const { service, options, access, current, images } = shared;
  const upTo = <T>(each: v.GenericSchema<T>) =>
    v.pipe(v.array(each), v.minLength(1), v.maxLength(options.maxBatch));
  const fileInputs = v.union([file, upTo(file)], 'expected an image file as base64, or a list of them');
  const textInputs = v.pipe(
    v.union([text, texts, upTo(texts)], 'expected a text, a list of its fields, or a list of such lists'),
    v.description('A text or a pair of them; a batch is a list of lists.'),
  );
  const schema: v.GenericSchema<TeiBody> = v.strictObject({
    inputs: service.reads === 'image' ? fileInputs : textInputs,
    raw_scores: v.optional(
      v.pipe(v.literal(false), v.description('Logits are not given: they help to extract what was erased.')),
    ),
    truncate: v.optional(v.nullable(v.boolean())),
    truncation_direction: v.optional(v.picklist(['left', 'right', 'Left', 'Right'])),
  });
  const routes = new Hono();

  const predict = describeRoute({
    operationId: 'teiPredict',
    summary: 'Text Embeddings Inference: labels of texts or images',
    requestBody: { required: true, content: json(schema) },
    responses: {
      200: {
        description: 'All labels, best first; of a batch a list of them.',
        content: json(v.union([scores, v.array(scores)])),
      },
      ...problemsAs(errorSchema, 400, 413, 415, 503),
    },
  });
  routes.post('/predict', access.allow('inference'), predict, async (c) => {
    const { inputs } = await readBody(c, schema, { fields: ['inputs'], items: options.maxBatch });
    const isBatch = Array.isArray(inputs) && (service.reads === 'image' || Array.isArray(inputs[0]));
    using found =
      service.reads === 'image'
        ? await imagesOf(inputs, isBatch, images, c.req.raw.signal)
        : textsOf(inputs, isBatch);
    const { answers } = await answer(shared, c, found.inputs);
    return c.json(isBatch ? answers : answers[0]);
  });

  const info = describeRoute({
    operationId: 'teiInfo',
    summary: 'Text Embeddings Inference: what the model is',
    responses: { 200: { description: 'The model.', content: json(infoSchema) }, ...problemsAs(errorSchema) },
  });
  routes.get('/info', access.allow('inference'), info, async (c) => {
    const { manifest } = await current.get();
    const { labels } = service;
    return c.json({
      ...{ model_id: options.modelName, model_sha: manifest, model_dtype: 'float32' },
      model_type: {
        classifier: {
          id2label: Object.fromEntries(labels.entries()),
          label2id: Object.fromEntries(labels.map((label, id) => [label, id])),
        },
      },
      max_concurrent_requests: options.maxQueue,
      max_batch_requests: options.maxBatch,
      max_client_batch_size: options.maxBatch,
      version: VERSION,
    });
  });
  return routes;
}

function imagesOf(
  inputs: TeiBody['inputs'],
  isBatch: boolean,
  images: ImageFiles,
  gone: AbortSignal,
): Promise<RequestInputs> {
  const pathOf = (index: number): string => (isBatch ? `inputs.${index}` : 'inputs');
  const files = [inputs].flat().map((each, index) => base64Bytes(each, pathOf(index)));
  return images.decode(files, pathOf, gone);
}

function textsOf(inputs: TeiBody['inputs'], isBatch: boolean): RequestInputs {
  const batch = (isBatch ? inputs : [inputs]) as (string | string[])[];
  return plainInputs(batch.map((fields) => ({ text: fields })));
}

const infoSchema = v.object({
  model_id: v.string(),
  model_sha: v.pipe(v.string(), v.description('The digest of the manifest.')),
  model_dtype: v.string(),
  model_type: v.object({
    classifier: v.object({
      id2label: v.record(v.string(), v.string()),
      label2id: v.record(v.string(), v.number()),
    }),
  }),
  max_concurrent_requests: v.number(),
  max_batch_requests: v.number(),
  max_client_batch_size: v.number(),
  version: v.string(),
});
