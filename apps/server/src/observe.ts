import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { Metrics } from './metrics.ts';

/** Counts requests by route, method and status. Routes are patterns, so an id in a path makes no new series. */
export function observe(metrics: Metrics): MiddlewareHandler {
  return async (c, next) => {
    const start = performance.now();
    await next();
    const route = matchedRoutes(c).findLast((matched) => !matched.path.includes('*'))?.path ?? 'unmatched';
    metrics.requests.add(1, { route, method: c.req.method, status: c.res.status });
    if (route !== '/v1/events') metrics.requestSeconds.observe((performance.now() - start) / 1000);
  };
}
