import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { type Shared, stamp } from '../context.ts';
import type { Version } from '../current.ts';
import { json, openProblems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { healthSchema, problemSchema } from '../schemas.ts';

/** The run's version, if it answers predictions. Throws 503 where it does not. */
export async function assertReady({ service, closing }: Shared): Promise<Version> {
  if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down');
  // It is the ledger that says it, so an unreadable one is not ready either.
  const version = await service.version();
  if (service.servedVersion === null) throw new Problem(503, 'unavailable', 'no shard serves anything yet');
  return version;
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
