import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type { Shared } from '../context.ts';
import { json, problems } from '../openapi.ts';
import { Problem } from '../problem.ts';
import { repairSchema } from '../schemas.ts';

export function repairRoutes({ repair, access, closing }: Shared): Hono {
  const content = json(repairSchema);
  const routes = new Hono();
  const start = describeRoute({
    operationId: 'repair',
    summary: 'Starts training the missing stages, in the background',
    responses: { 202: { description: 'It runs. Follow it in /v1/events.', content }, ...problems(503) },
  });
  routes.post('/v1/repair', access.allow('admin'), start, (c) => {
    if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    return c.json(repair.start(), 202);
  });
  const state = describeRoute({
    operationId: 'repairState',
    summary: 'How the repair stands',
    responses: { 200: { description: 'The repair that runs or ran last.', content }, ...problems() },
  });
  routes.get('/v1/repair', access.allow('audit'), state, (c) => c.json(repair.state));
  return routes;
}
