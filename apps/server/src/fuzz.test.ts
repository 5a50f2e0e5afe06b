// Whatever is sent, the answer is one that the API's own description knows, never a 5xx, and nothing changes.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type KeyRing, ROLES } from './access.ts';
import { createApp } from './app.ts';
import { type Document, MARK, requestsOf } from './testing/fuzz.ts';
import { StandIn } from './testing/stand-in.ts';

const keys: KeyRing = {
  isRequired: async () => true,
  find: async (secret) =>
    ROLES.filter((role) => role === secret).map((role) => ({ id: role, role }))[0] ?? null,
};
const faults: unknown[] = [];
const run = new StandIn();
const app = createApp(run, {
  keys,
  maxBody: 4096,
  modelName: 'cats',
  onError: (error) => faults.push(error),
});

const key = fc.oneof(
  { weight: 12, arbitrary: fc.constant('admin') },
  fc.constantFrom('audit', 'inference', undefined, MARK),
);

it('answers 5,000 requests made from its description as that says', async () => {
  const document = (await (await app.request('/openapi.json')).json()) as Document;
  const before = await run.status();
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(requestsOf(document), key, async ({ operation, documented, path, init }, secret) => {
      const headers = { ...init.headers, ...(secret !== undefined && { Authorization: `Bearer ${secret}` }) };
      const response = await app.request(path, { ...init, headers });
      const { status } = response;
      seen.add(`${operation} ${status}`);
      expect(documented).toContain(String(status));
      expect(status).toBeLessThan(500);
      if (response.headers.get('content-type') === 'text/event-stream') return response.body!.cancel();
      const text = await response.text();
      if (status < 400) return;
      expect(text).not.toMatch(new RegExp(`${MARK}|\\\\n|\\bat .*:\\d+`));
      expect(JSON.parse(text)).toHaveProperty('error');
    }),
    { numRuns: 5000, timeout: 10_000 },
  );
  expect(faults).toEqual([]);
  expect(await run.status()).toEqual(before);
  // It was no idle talk: every operation was answered as it should be, and most kinds of refusal met.
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const method of Object.keys(methods)) {
      const found = [...seen].filter((each) => each.startsWith(`${method.toUpperCase()} ${path} `));
      expect(found.length, `${method} ${path}`).toBeGreaterThan(0);
    }
  }
  for (const status of [200, 202, 400, 401, 403, 404, 413, 415, 429])
    expect(
      [...seen].some((each) => each.endsWith(` ${status}`)),
      String(status),
    ).toBe(true);
}, 120_000);

it('answers strange paths, methods and queries with 4xx', async () => {
  const segment = fc.oneof(
    fc.constantFrom('v1', 'erasures', 'predict', 'status', 'events', 'health', 'assets', '%00', '%'),
    fc.webSegment(),
  );
  const headers = { Authorization: 'Bearer admin' };
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { maxLength: 4 }),
      fc.constantFrom('PUT', 'DELETE', 'PATCH', 'OPTIONS', 'POST', 'GET'),
      fc.webQueryParameters(),
      async (parts, method, query) => {
        const response = await app.request(`/x/${parts.join('/')}?${query}`, { method, headers });
        expect(response.status).toBe(404);
        const inside = await app.request(`/v1/erasures/${parts.join('/') || 'x'}?${query}`, {
          method,
          headers,
        });
        expect(inside.status).toBeGreaterThanOrEqual(400);
        expect(inside.status).toBeLessThan(500);
      },
    ),
    { numRuns: 300 },
  );
});
