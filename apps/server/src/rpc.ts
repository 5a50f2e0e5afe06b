import type { Backup, Receipt, Status } from '@s3t/unlearner';
import type { Hono } from 'hono';
import { hc } from 'hono/client';
import type { BlankEnv } from 'hono/types';
import type { Answer } from './batcher.ts';
import type { Point } from './history.ts';
import type { RepairState } from './repair.ts';
import type { EraseBody, Erasure, PredictBody } from './schemas.ts';

/** A route that takes `Input` and answers `Output` as JSON. No interface: Hono wants to index it. */
type Route<Output, Input = object, Code extends 200 | 201 | 202 = 200> = {
  input: Input;
  output: Output;
  outputFormat: 'json';
  status: Code;
};
/** One that answers a text. */
type Text<Input = object> = { input: Input; output: string; outputFormat: 'text'; status: 200 };

/** The API by path and method, as `hono/client` reads it. The routes are made apart from each other, so Hono does not infer it. */
export type Api = Hono<
  BlankEnv,
  {
    '/v1/predict': { $post: Route<Answer, { json: PredictBody }> };
    '/v1/status': { $get: Route<Status> };
    '/v1/erasures': {
      $post: Route<Receipt, { json: EraseBody; header?: { 'idempotency-key'?: string } }, 201>;
      $get: Route<{ erasures: Erasure[] }, { query?: { limit?: string } }>;
    };
    '/v1/erasures/:id': { $get: Route<Erasure, { param: { id: string } }> };
    '/v1/erasures/:id/receipt': { $get: Text<{ param: { id: string } }> };
    '/v1/backups': { $post: Route<Backup, { json: { signingKey?: boolean | undefined } }, 201> };
    '/v1/repair': { $get: Route<RepairState>; $post: Route<RepairState, object, 202> };
    '/v1/repair/pause': { $post: Route<RepairState> };
    '/v1/repair/resume': { $post: Route<RepairState> };
    '/v1/history': { $get: Route<{ points: Point[] }>; $post: Route<Point> };
    '/v1/log/key': { $get: Text };
    '/v1/log/checkpoint': { $get: Text };
  },
  '/'
>;

/**
 * The API of the server at `url` as a client of `hono/client`: paths become properties, and what is sent and answered is typed. `connect`
 * is shorter; this one is for whoever wants the responses themselves.
 *
 * @param options.key an API key, where the server has keys
 * @param options.fetch in place of the runtime's own
 *
 * @example
 * ```ts
 * const api = rpc('http://127.0.0.1:8787');
 * const response = await api.v1.erasures.$post({ json: { records: ['train/12'], dryRun: true } });
 * const { deactivated } = await response.json();
 * ```
 */
export function rpc(url: string, { key, fetch }: RpcOptions = {}): ReturnType<typeof hc<Api, string>> {
  return hc<Api, string>(url, {
    ...(key === undefined ? {} : { headers: { Authorization: `Bearer ${key}` } }),
    ...(fetch === undefined ? {} : { fetch }),
  });
}

export interface RpcOptions {
  key?: string;
  fetch?: typeof globalThis.fetch;
}
