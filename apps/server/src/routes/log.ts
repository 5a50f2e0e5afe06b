import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { checked } from '../body.ts';
import type { Shared } from '../context.ts';
import { json, problems } from '../openapi.ts';
import { consistencySchema, logSizeSchema } from '../schemas.ts';

/** What an auditor asks of the log. */
export function logRoutes({ service: { log }, access }: Shared): Hono {
  const reader = access.allow('audit');
  const routes = new Hono();

  routes.get('/v1/log/key', describeKey, async (c) => c.text(`${await log.publicKey()}\n`));

  routes.get('/v1/log/checkpoint', reader, describeCheckpoint, async (c) => c.text(await log.checkpoint()));

  routes.get('/v1/log/consistency', reader, describeConsistency, async (c) => {
    const from = checked(logSizeSchema, c.req.query('from'), 'query.from');
    const given = c.req.query('to');
    const to = given === undefined ? undefined : checked(logSizeSchema, given, 'query.to');
    return c.json(await log.consistency(from, to));
  });
  return routes;
}

const text = { 'text/plain': { schema: { type: 'string' } } } as const;
const size = { type: 'integer', minimum: 1 } as const;

const describeKey = describeRoute({
  operationId: 'logKey',
  summary: 'The key that receipts, checkpoints and OpenDSR answers are signed with',
  security: [],
  description: 'A C2SP signed-note verifier key, Ed25519. Take it from whom you trust, not from here alone.',
  responses: { 200: { description: 'The key.', content: text } },
});

const describeCheckpoint = describeRoute({
  operationId: 'logCheckpoint',
  summary: 'The size and Merkle root of the log, signed',
  description: 'C2SP tlog-checkpoint. Keep it: a later log has to be consistent with it.',
  responses: { 200: { description: 'The checkpoint.', content: text }, ...problems() },
});

const describeConsistency = describeRoute({
  operationId: 'logConsistency',
  summary: 'Shows that the log of `to` entries begins with the log of `from` entries',
  description: 'The proof of RFC 9162, section 2.1.4.',
  parameters: [
    { in: 'query', name: 'from', required: true, schema: size },
    { in: 'query', name: 'to', schema: size, description: 'Left out, all entries there are.' },
  ],
  responses: { 200: { description: 'The proof.', content: json(consistencySchema) }, ...problems(400) },
});
