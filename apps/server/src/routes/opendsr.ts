// Erasure as privacy platforms ask for it: OpenDSR 2.0, https://github.com/opengdpr/OpenDSR
import type { Receipt } from '@s3t/unlearner';
import { type Context, Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import * as v from 'valibot';
import { isLoopback } from '../access.ts';
import { checked, readBody } from '../body.ts';
import type { Shared } from '../context.ts';
import { json, problemsAs } from '../openapi.ts';
import { Problem, problemOf } from '../problem.ts';

const API_VERSION = '2.0';

const uuid = v.pipe(
  v.string(),
  v.regex(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    'expected a UUID v4 in lower case',
  ),
);
const callbackUrl = v.pipe(v.string(), v.maxLength(2000), v.check(mayBeCalled, 'expected an https URL'));

interface SubjectRequest {
  subject_request_id: string;
  subject_request_type: 'erasure';
  subject_identities: { identity_type: string; identity_value: string; identity_format: 'raw' }[];
  submitted_time: string;
  api_version?: string | undefined;
  regulation?: string | undefined;
  status_callback_urls?: string[] | undefined;
  extensions?: Record<string, unknown> | undefined;
}

/**
 * `/discovery` and `/requests`. A request is an erasure of subjects, with the id that its controller gave it as the idempotency key: that is
 * all that is kept of it. An erasure takes milliseconds, so a request is completed when it is answered, and never pending:
 * there is nothing to cancel.
 */
export function opendsrRoutes(shared: Shared): Hono {
  const { service, erase, options, access, egress, metrics, closing, callbacks } = shared;
  const schema: v.GenericSchema<SubjectRequest> = v.object({
    subject_request_id: uuid,
    subject_request_type: v.literal('erasure'),
    subject_identities: v.pipe(
      v.array(
        v.object({
          identity_type: v.literal(options.subjectIdentity),
          identity_value: v.pipe(v.string(), v.minLength(1), v.maxLength(512)),
          identity_format: v.literal('raw'),
        }),
      ),
      v.minLength(1),
      v.maxLength(100),
    ),
    submitted_time: v.pipe(
      v.string(),
      v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{1,16}$/, 'expected an RFC 3339 time'),
    ),
    api_version: v.optional(v.pipe(v.string(), v.maxLength(16))),
    regulation: v.optional(v.picklist(['gdpr', 'ccpa'])),
    status_callback_urls: v.optional(v.pipe(v.array(callbackUrl), v.maxLength(5))),
    extensions: v.optional(v.record(v.string(), v.unknown())),
  });
  const inFlight = new Set<string>();
  const routes = new Hono();

  routes.get('/discovery', describeDiscovery, (c) =>
    c.json({
      api_version: API_VERSION,
      supported_identities: [{ identity_type: options.subjectIdentity, identity_format: 'raw' }],
      supported_subject_request_types: ['erasure'],
      processor_certificate: new URL('/v1/log/key', c.req.url).href,
    }),
  );

  routes.post('/requests', access.allow('admin'), describeCreate(schema), async (c) => {
    const receivedAt = Date.now();
    const body = await readBody(c, schema, { fields: ['subject_identities'], items: 100 });
    const id = body.subject_request_id;
    if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    if (inFlight.has(id))
      throw new Problem(409, 'in-flight', 'this request is being worked on', { retryAfter: 1 });
    inFlight.add(id);
    try {
      const subjects = body.subject_identities.map(({ identity_value }) => identity_value);
      const drain = (version: number) => egress.settle(version);
      const receipt = await erase({ subjects }, { receivedAt, idempotencyKey: keyOf(id), drain }).catch(
        (error) => {
          throw renamed(error);
        },
      );
      // One that finishes what failed half-way is not asked to drain.
      await drain(receipt.after.version);
      if (receipt.repeated !== true) metrics.erasures.add();
      for (const url of body.status_callback_urls ?? []) {
        const text = JSON.stringify({ ...statusOf(c, id, receipt), status_callback_url: url });
        await callbacks.send(url, text, { 'Content-Type': 'application/json', ...(await signed(c, text)) });
      }
      const { request_status: _, ...known } = statusOf(c, id, receipt);
      const request = Buffer.from(await c.req.text()).toString('base64');
      const encoded = { received_time: receipt.receivedAt, encoded_request: request };
      return respond(c, { ...known, ...encoded }, receipt.repeated ? 200 : 201);
    } finally {
      inFlight.delete(id);
    }
  });

  routes.get('/requests/:id', access.allow('audit'), describeStatus, async (c) => {
    const id = checked(uuid, c.req.param('id'), 'subject_request_id');
    const receipt = await service.receiptFor(keyOf(id));
    if (receipt !== null) return respond(c, statusOf(c, id, receipt));
    if (!inFlight.has(id)) throw unknownRequest();
    return respond(c, { ...statusOf(c, id), request_status: 'in_progress' });
  });

  routes.delete('/requests/:id', access.allow('admin'), describeCancel, async (c) => {
    const id = checked(uuid, c.req.param('id'), 'subject_request_id');
    if (!inFlight.has(id) && (await service.receiptFor(keyOf(id))) === null) throw unknownRequest();
    throw new Problem(400, 'not-pending', 'only a pending request can be cancelled; this one is carried out');
  });
  return routes;

  async function respond(c: Context, value: object, status: 200 | 201 = 200): Promise<Response> {
    const text = JSON.stringify(value);
    return c.body(text, status, { 'Content-Type': 'application/json', ...(await signed(c, text)) });
  }

  async function signed(c: Context, text: string): Promise<Record<string, string>> {
    const signature = await service.log.sign(new TextEncoder().encode(text));
    return {
      'X-OpenDSR-Processor-Domain': new URL(c.req.url).hostname,
      'X-OpenDSR-Signature': Buffer.from(signature).toString('base64'),
    };
  }
}

/** Of a request that is answered, or still at work. */
function statusOf(c: Context, id: string, receipt?: Receipt) {
  return {
    controller_id: c.get('caller')?.id ?? 'anybody',
    subject_request_id: id,
    request_status: 'completed',
    expected_completion_time: receipt?.acknowledgedAt ?? new Date().toISOString(),
    api_version: API_VERSION,
    ...(receipt !== undefined && {
      results_count: receipt.records,
      results_url: new URL(`/v1/erasures/${receipt.erasure}/receipt`, c.req.url).href,
    }),
  };
}

const keyOf = (id: string): string => `opendsr:${id}`;
const unknownRequest = (): Problem => new Problem(404, 'unknown-request', 'there is no such request');

/** What a run calls subjects, a request calls identities. What is the server's own fault stays as it is. */
function renamed(error: unknown): unknown {
  const { status, code, message, path, retryAfter } = problemOf(error);
  if (status >= 500 || path === undefined) return error;
  return new Problem(status, code, message, {
    path: path.replace(/^subjects/, 'subject_identities'),
    retryAfter,
  });
}

/** Callbacks carry no personal data, but say that somebody was erased: not over plain HTTP, except to this machine. */
function mayBeCalled(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  return (
    (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))) && username + password === ''
  );
}

const errorSchema = v.object({
  error: v.object({
    code: v.pipe(v.number(), v.description('The status.')),
    message: v.string(),
    errors: v.array(v.object({ domain: v.string(), reason: v.string(), message: v.string() })),
  }),
});
const known = {
  controller_id: v.pipe(v.string(), v.description('The id of the API key.')),
  subject_request_id: v.string(),
  expected_completion_time: v.string(),
  api_version: v.string(),
  results_count: v.optional(v.pipe(v.number(), v.description('Records erased.'))),
  results_url: v.optional(v.pipe(v.string(), v.description('Of the signed receipt.'))),
};
const statusSchema = v.object({ ...known, request_status: v.picklist(['in_progress', 'completed']) });
const createdSchema = v.object({ ...known, received_time: v.string(), encoded_request: v.string() });
const idParameter = { in: 'path', name: 'id', required: true, schema: { type: 'string' } } as const;

const describeDiscovery = describeRoute({
  operationId: 'opendsrDiscovery',
  summary: 'OpenDSR: what can be asked for',
  security: [],
  responses: {
    200: {
      description: 'Erasure, of subjects as the training data calls them.',
      content: json(
        v.object({
          api_version: v.string(),
          supported_identities: v.array(v.object({ identity_type: v.string(), identity_format: v.string() })),
          supported_subject_request_types: v.array(v.string()),
          processor_certificate: v.pipe(v.string(), v.description('Of the Ed25519 key of the signatures.')),
        }),
      ),
    },
  },
});

const describeCreate = (schema: v.GenericSchema<SubjectRequest>): ReturnType<typeof describeRoute> =>
  describeRoute({
    operationId: 'opendsrCreate',
    summary: 'OpenDSR: erases subjects',
    description:
      'When this answers, the request is completed; callbacks say so too. Answers and callbacks are signed.',
    requestBody: { required: true, content: json(schema) },
    responses: {
      201: { description: 'Erased.', content: json(createdSchema) },
      200: { description: 'This request was answered before.', content: json(createdSchema) },
      ...problemsAs(errorSchema, 400, 404, 409, 413, 415, 422, 503, 507),
    },
  });

const describeStatus = describeRoute({
  operationId: 'opendsrStatus',
  summary: 'OpenDSR: how a request stands',
  parameters: [idParameter],
  responses: {
    200: { description: 'Its status.', content: json(statusSchema) },
    ...problemsAs(errorSchema, 400, 404),
  },
});

const describeCancel = describeRoute({
  operationId: 'opendsrCancel',
  summary: 'OpenDSR: cancels a pending request, of which there are none',
  parameters: [idParameter],
  responses: { ...problemsAs(errorSchema, 400, 404) },
});
