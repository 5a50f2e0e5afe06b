import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { type Shared, stamp } from '../context.ts';
import { json, problems } from '../openapi.ts';
import { statusSchema } from '../schemas.ts';

export function statusRoutes({ service, access }: Shared): Hono {
  const description = describeRoute({
    operationId: 'status',
    summary: 'Shards, sequences and stages: what is trained, active and served',
    responses: { 200: { description: 'The run.', content: json(statusSchema) }, ...problems() },
  });
  return new Hono().get('/v1/status', access.allow('audit'), description, async (c) => {
    const status = await service.status();
    stamp(c, status);
    return c.json(status);
  });
}
