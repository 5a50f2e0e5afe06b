import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import { type Shared, stamp } from '../context.ts';
import { json } from '../openapi.ts';
import { statusSchema } from '../schemas.ts';

export function statusRoutes({ service }: Shared): Hono {
  const description = describeRoute({
    operationId: 'status',
    summary: 'Shards, sequences and stages: what is trained, active and served',
    responses: { 200: { description: 'The run.', content: json(statusSchema) } },
  });
  return new Hono().get('/v1/status', description, async (c) => {
    const status = await service.status();
    stamp(c, status);
    return c.json(status);
  });
}
