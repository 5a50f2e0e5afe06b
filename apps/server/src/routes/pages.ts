import { files } from '@s3t/dashboard';
import { Hono } from 'hono';

/**
 * The dashboard at `/`, the API's description at `/docs`, and what they load. Nothing secret is in them, so they are open to everybody: the
 * dashboard asks for a key where the API wants one.
 */
export function pageRoutes(): Hono {
  const routes = new Hono();
  for (const [path, { type, body }] of Object.entries(files)) {
    // `no-cache`: a page of another build must not talk to this one.
    routes.get(path, (c) => c.body(body, 200, { 'Content-Type': type, 'Cache-Control': 'no-cache' }));
  }
  return routes;
}
