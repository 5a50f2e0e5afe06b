import type { Status } from '@s3t/unlearner';
import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { type Shared, stamp } from '../context.ts';
import { json, openProblems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { healthSchema, problemSchema } from '../schemas.ts';

/** The run's status, if it answers predictions. Throws 503 where it does not. */
export async function assertReady({ service, closing }: Shared): Promise<Status> {
  if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down');
  // A status needs the ledger, so an unreadable one is not ready either.
  const status = await service.status();
  if (status.shards.every((shard) => shard.servedDepth === 0))
    throw new Problem(503, 'unavailable', 'no shard serves anything yet');
  return status;
}

export function healthRoutes(shared: Shared): Hono {
  const content = json(healthSchema);
  const routes = new Hono();
  const live = describeRoute({
    operationId: 'live',
    summary: 'Whether the process answers',
    security: [],
    responses: { 200: { description: 'It does.', content } },
  });
  routes.get('/health/live', live, (c) => c.json({ status: 'live' }));

  const ready = describeRoute({
    operationId: 'ready',
    summary: 'Whether predictions are answered',
    security: [],
    responses: { 200: { description: 'They are.', content }, ...openProblems(problemSchema, 503) },
  });
  routes.get('/health/ready', ready, async (c) => {
    stamp(c, await assertReady(shared));
    return c.json({ status: 'ready' });
  });
  return routes;
}
