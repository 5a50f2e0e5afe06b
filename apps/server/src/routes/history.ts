import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type { Shared } from '../context.ts';
import { json, problems } from '../openapi.ts';
import { historySchema, pointSchema } from '../schemas.ts';

export function historyRoutes({ history, access }: Shared): Hono {
  const routes = new Hono();
  const list = describeRoute({
    operationId: 'history',
    summary: 'Served depths and measured accuracy of the run, oldest first',
    responses: { 200: { description: 'The points.', content: json(historySchema) }, ...problems() },
  });
  routes.get('/v1/history', access.allow('audit'), list, async (c) =>
    c.json({ points: await history.points() }),
  );
  const measure = describeRoute({
    operationId: 'measure',
    summary: 'Measures what is served on the evaluation data, and notes it',
    description: 'Predictions wait while it computes.',
    responses: {
      200: { description: 'What was measured.', content: json(pointSchema) },
      ...problems(400, 404, 503, 507),
    },
  });
  routes.post('/v1/history', access.allow('admin'), measure, async (c) => c.json(await history.measure()));
  return routes;
}
