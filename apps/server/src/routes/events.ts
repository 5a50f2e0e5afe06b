import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type { Shared } from '../context.ts';
import { eventStream } from '../event-stream.ts';
import { problems } from '../openapi.ts';
import { Problem } from '../problem.ts';

export function eventRoutes({ access, hub, repair, standing, options, closing }: Shared): Hono {
  const description = describeRoute({
    operationId: 'events',
    summary: 'What happens, as server-sent events',
    description:
      'First `hello` with `{status, repair}`, then `version`, `erased`, `stage-published`, `stage-started`, `stage-superseded`, `step`, `work-started`, `work-finished`, `measured`, `repaired`, `repair`, `backup`, and `lost` when the run is gone until the next `version`. The data is JSON. Reconnect for a fresh `hello`; there is no replay.',
    responses: {
      200: { description: 'The stream.', content: { 'text/event-stream': { schema: { type: 'string' } } } },
      ...problems(503),
    },
  });
  let open = 0;
  return new Hono().get('/v1/events', access.allow('audit'), description, (c) => {
    if (open >= options.maxStreams || closing.aborted) {
      throw new Problem(503, 'unavailable', 'no more event streams', { retryAfter: 5 });
    }
    // `X-Accel-Buffering` keeps nginx from holding events back.
    const headers = { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' };
    // Hono answers HEAD with GET's handler; nobody would ever end that stream.
    if (c.req.raw.method === 'HEAD') return c.body(null, 200, headers);
    open += 1;
    const stream = eventStream({
      subscribe: (listener) => hub.subscribe(listener),
      hello: async () => ({
        event: 'hello',
        data: { status: await standing.status(), repair: repair.state },
      }),
      // It may go on for days: a key that is revoked meanwhile ends it.
      mayGoOn: () => access.isStillIn(c),
      heartbeatMs: options.heartbeatMs,
      signal: closing,
      onClose: () => {
        open -= 1;
      },
    });
    return c.body(stream, 200, headers);
  });
}
