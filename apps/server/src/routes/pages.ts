import { files } from '@s3t/dashboard';
import { Hono } from 'hono';
import type { Shared } from '../context.ts';

/**
 * The dashboard at `/`, the API's description at `/docs`, and what they load. Nothing secret is in them; the dashboard wants a key so that
 * the browser asks for it once (as the password of any name), and sends it with everything the page then does.
 */
export function pageRoutes({ access }: Shared): Hono {
  const routes = new Hono();
  routes.get('/', access.allow('audit', 'Basic realm="S3T: an API key as the password", charset="UTF-8"'));
  for (const [path, { type, body }] of Object.entries(files)) {
    // `no-cache`: a page of another build must not talk to this one.
    routes.get(path, (c) => c.body(body, 200, { 'Content-Type': type, 'Cache-Control': 'no-cache' }));
  }
  return routes;
}
