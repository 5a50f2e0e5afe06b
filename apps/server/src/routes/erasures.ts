import type { Receipt, UnfinishedErasure } from '@s3t/unlearner';
import { type Context, Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { checked, readBody } from '../body.ts';
import type { Shared } from '../context.ts';
import { idempotencyParameter, json, problems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import {
  type Erasure,
  eraseSchema,
  erasureSchema,
  erasuresSchema,
  idempotencyKeySchema,
  limitSchema,
  receiptFileSchema,
  receiptSchema,
} from '../schemas.ts';

export function erasureRoutes(shared: Shared): Hono {
  const { service, erase, options, access, egress, metrics, receipts, closing } = shared;
  const schema = eraseSchema(options);
  const inFlight = new Set<string>();
  const reader = access.allow('audit');
  const routes = new Hono();

  routes.post('/v1/erasures', access.allow('admin'), describeErase(schema), async (c) => {
    const receivedAt = Date.now();
    const start = performance.now();
    const idempotencyKey = keyOf(c);
    const most = { fields: ['records', 'subjects'], items: options.maxRecords };
    const { records, subject, subjects = [], dryRun, evaluate } = await readBody(c, schema, most);
    // The one that stands alone comes last: places of the others stay what they are in the request.
    const target = { records, subjects: subject === undefined ? subjects : [...subjects, subject] };
    if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    // Answers that left before the swap must be out, or be cut off, before it is acknowledged.
    const drain = (version: number) => egress.settle(version);
    const work = () => erase(target, { receivedAt, dryRun, evaluate, idempotencyKey, drain });
    // A dry run may take long, and changes nothing: the erasure itself does not wait for it.
    const receipt = await (dryRun ? work() : exclusively(inFlight, idempotencyKey, work));
    // One that finishes what failed half-way is not asked to drain.
    if (!dryRun) await drain(receipt.after.version);
    const changed = receipt.dryRun !== true && receipt.repeated !== true;
    if (!changed) return c.json(receipt, 200);
    metrics.erasures.add();
    metrics.erasureSeconds.observe((performance.now() - start) / 1000);
    c.header('Location', `/v1/erasures/${encodeURIComponent(receipt.erasure)}`);
    return c.json(receipt, 201);
  });

  routes.get('/v1/erasures', reader, describeList, async (c) => {
    const limit = checked(limitSchema, c.req.query('limit'), 'query.limit');
    // In this order: one that is acknowledged in between is found twice, and not missed.
    const unfinished = (await service.unfinished()).toReversed();
    const finished = await receipts.newest(limit);
    const known = new Set(finished.map(({ erasure }) => erasure));
    const all = [...unfinished.filter(({ erasure }) => !known.has(erasure)), ...finished];
    return c.json({ erasures: all.slice(0, limit).map(withState) });
  });

  routes.get('/v1/erasures/:id', reader, describeOne, async (c) => {
    const id = c.req.param('id');
    // The last look finds one that was acknowledged between the others.
    const found =
      (await service.receipt(id)) ??
      (await service.unfinished()).find(({ erasure }) => erasure === id) ??
      (await service.receipt(id));
    if (found === null) throw new Problem(404, 'unknown-erasure', 'no such erasure');
    return c.json(withState(found));
  });

  routes.get('/v1/erasures/:id/receipt', reader, describeFile, async (c) => {
    const id = c.req.param('id');
    if ((await service.receipt(id)) === null) throw new Problem(404, 'unknown-erasure', 'no such erasure');
    const file = await service.log.receiptFile(id);
    if (file === null) {
      const message = 'this erasure is from before receipts were signed: the log has no statement of it';
      throw new Problem(404, 'no-receipt-file', message);
    }
    c.header('Content-Type', 'application/json');
    c.header('Content-Disposition', `attachment; filename="receipt-${id}.json"`);
    return c.body(file);
  });
  return routes;
}

function withState(found: Receipt | UnfinishedErasure): Erasure {
  if (!('acknowledgedAt' in found)) return { ...found, state: 'deactivated' };
  return { ...found, state: found.repairedAt === undefined ? 'completed' : 'repaired' };
}

function keyOf(c: Context): string | undefined {
  const key = c.req.header('idempotency-key');
  return key === undefined ? undefined : checked(idempotencyKeySchema, key, 'headers.idempotency-key');
}

/** A second request with a key whose first is still at work is told so (409), as the IETF draft wants it. */
async function exclusively<T>(
  inFlight: Set<string>,
  key: string | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (key === undefined) return work();
  if (inFlight.has(key)) {
    throw new Problem(409, 'in-flight', 'a request with this idempotency key is being worked on', {
      retryAfter: 1,
    });
  }
  inFlight.add(key);
  try {
    return await work();
  } finally {
    inFlight.delete(key);
  }
}

const receiptContent = json(receiptSchema);

const describeErase = (schema: ReturnType<typeof eraseSchema>): ReturnType<typeof describeRoute> =>
  describeRoute({
    operationId: 'erase',
    summary: 'Erases records, by id or by whom they are about, or says what that would do',
    description:
      'When this answers 201 the erasure is durable, no answer is computed with a stage that has seen the records, and the weights of those stages are destroyed.',
    parameters: [idempotencyParameter],
    requestBody: { required: true, content: json(schema) },
    responses: {
      201: { description: 'Erased; this is the receipt.', content: receiptContent },
      200: {
        description: 'A dry run, or the receipt of an earlier request with the same key.',
        content: receiptContent,
      },
      ...problems(400, 404, 409, 413, 415, 422, 503, 507),
    },
  });

const describeList = describeRoute({
  operationId: 'erasures',
  summary: 'Erasures and how far they are, newest first',
  parameters: [
    { in: 'query', name: 'limit', schema: { type: 'integer', minimum: 1, maximum: 9999, default: 100 } },
  ],
  responses: { 200: { description: 'The erasures.', content: json(erasuresSchema) }, ...problems(400) },
});

const describeOne = describeRoute({
  operationId: 'erasure',
  summary: 'One erasure, and how far it is',
  parameters: [{ in: 'path', name: 'id', required: true, schema: { type: 'string' } }],
  responses: { 200: { description: 'The erasure.', content: json(erasureSchema) }, ...problems(404) },
});

const describeFile = describeRoute({
  operationId: 'receiptFile',
  summary: 'One receipt as a file that verifies offline',
  description:
    'The same bytes whenever it is asked for, and others from the repair on, which say when that was. Check them with `s3t verify --receipt FILE --public-key KEY`.',
  parameters: [{ in: 'path', name: 'id', required: true, schema: { type: 'string' } }],
  responses: { 200: { description: 'The file.', content: json(receiptFileSchema) }, ...problems(404) },
});
