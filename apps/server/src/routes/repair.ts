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
    responses: { 202: { description: 'It runs. Follow it in /v1/events.', content }, ...problems(409, 503) },
  });
  routes.post('/v1/repair', access.allow('admin'), start, (c) => {
    if (closing.aborted) throw new Problem(503, 'closing', 'the server is shutting down', { retryAfter: 5 });
    if (repair.state.paused)
      throw new Problem(409, 'paused', 'repairs are paused; POST /v1/repair/resume lets them go on');
    return c.json(repair.start(), 202);
  });
  const hold = describeRoute({
    operationId: 'pauseRepair',
    summary: 'Holds a running repair before its next training step, and begins none until it is resumed',
    responses: {
      200: { description: 'Nothing is trained any more; nothing is lost.', content },
      ...problems(503, 507),
    },
  });
  routes.post('/v1/repair/pause', access.allow('admin'), hold, async (c) => c.json(await repair.pause()));
  const go = describeRoute({
    operationId: 'resumeRepair',
    summary: 'Goes on with a paused repair, and with the policy',
    responses: {
      200: { description: 'A repair that was held goes on.', content },
      ...problems(503, 507),
    },
  });
  routes.post('/v1/repair/resume', access.allow('admin'), go, async (c) => c.json(await repair.resume()));
  const state = describeRoute({
    operationId: 'repairState',
    summary: 'How the repair stands',
    responses: { 200: { description: 'The repair that runs or ran last.', content }, ...problems() },
  });
  routes.get('/v1/repair', access.allow('audit'), state, (c) => c.json(repair.state));
  return routes;
}
