import type { Hono } from 'hono';
import { type DescribeRouteOptions, openAPIRouteHandler, resolver } from 'hono-openapi';
import type * as v from 'valibot';
import { tensorData } from './open-inference.ts';
import { pixelNumbers, problemSchema } from './schemas.ts';

type Schema = v.GenericSchema<unknown>;
type Responses = NonNullable<DescribeRouteOptions['responses']>;

/** Of this package. */
export const VERSION = '0.1.0';

/** What is checked by a loop of our own, which valibot's converter cannot read. */
const OWN_CHECKS = new Map<unknown, { type: 'array'; items: object }>([
  [pixelNumbers, { type: 'array', items: { type: 'integer', minimum: 0, maximum: 255 } }],
  [tensorData, { type: 'array', items: {} }],
]);
/** A JSON body in the OpenAPI document. */
export function json(schema: Schema): { 'application/json': { schema: ReturnType<typeof resolver> } } {
  const overrideSchema = ({ valibotSchema }: { valibotSchema: unknown }) => OWN_CHECKS.get(valibotSchema);
  return { 'application/json': { schema: resolver(schema, { options: { overrideSchema } }) } };
}

const reasons: Readonly<Record<number, string>> = {
  400: 'The request is malformed; `path` names the field.',
  401: 'No API key, or one that is not known.',
  403: 'The key may not do this, or the request comes from a page of another site.',
  404: 'There is no such thing here; nothing was changed.',
  409: 'Some records were erased before, or a request with this key is in flight; nothing was changed.',
  413: 'The body is too large, a list too long, or its texts are too long together.',
  415: 'The body is not JSON.',
  422: 'The idempotency key belongs to another request.',
  429: 'The queue is full, or the caller asks too often; retry after `Retry-After` seconds.',
  503: 'Nothing can answer now.',
  507: "The server's disk is full; nothing is acknowledged.",
};

/** What any route that wants a key may answer. */
const KEY_PROBLEMS = [401, 403, 429];

/** The error answers of a route that wants a key. */
export function problems(...statuses: number[]): Responses {
  return problemsAs(problemSchema, ...statuses);
}

/** The same, in the shape of another API. */
export function problemsAs(schema: Schema, ...statuses: number[]): Responses {
  return openProblems(schema, ...statuses, ...KEY_PROBLEMS);
}

/** The error answers of a route that is open to everybody. */
export function openProblems(schema: Schema, ...statuses: number[]): Responses {
  return Object.fromEntries(
    statuses.map((status) => [status, { description: reasons[status]!, content: json(schema) }]),
  );
}

/** The header that makes an erasure happen once. */
export const idempotencyParameter = {
  in: 'header',
  name: 'Idempotency-Key',
  schema: { type: 'string', maxLength: 255 },
  description:
    'A key of your choice: the same key and body give the same receipt, however often they are sent.',
} as const;

/** Serves what the routes of `app` say about themselves as OpenAPI 3.1. */
export function openapi(app: Hono): ReturnType<typeof openAPIRouteHandler> {
  return openAPIRouteHandler(app, {
    documentation: {
      info: {
        title: 'S3T',
        version: VERSION,
        description: 'Predictions from a model whose training data can be taken back, exactly.',
      },
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'An API key; none is needed where the server has none.',
          },
        },
      },
      security: [{ key: [] }],
    },
  });
}
