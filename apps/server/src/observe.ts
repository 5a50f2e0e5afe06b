import type { Context, MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { Metrics } from './metrics.ts';
import type { Options } from './options.ts';

declare module 'hono' {
  interface ContextVariableMap {
    /** Names the request in the log and to its client. */
    requestId: string;
  }
}

/** Counts and logs requests by route, method and status. Routes are patterns, so an id in a path makes no new series. */
export function observe(metrics: Metrics, { onRequest }: Options): MiddlewareHandler {
  return async (c, next) => {
    const start = performance.now();
    // Never the client's own: it may mean somebody.
    const id = crypto.randomUUID();
    c.set('requestId', id);
    c.header('X-Request-Id', id);
    await next();
    const ms = performance.now() - start;
    const [route, method, { status }] = [routeOf(c), c.req.method, c.res];
    metrics.requests.add(1, { route, method, status });
    if (route !== '/v1/events') metrics.requestSeconds.observe(ms / 1000);
    const version = c.res.headers.get('x-s3t-version');
    onRequest({
      at: new Date().toISOString(),
      ...{ id, method, route, status, ms: Number(ms.toFixed(1)) },
      version: version === null ? null : Number(version),
      key: c.get('caller')?.id ?? null,
    });
  };
}

/** The pattern that answers, such as `/v1/erasures/:id`. */
export function routeOf(c: Context): string {
  return matchedRoutes(c).findLast(({ path }) => !path.includes('*'))?.path ?? 'unmatched';
}
