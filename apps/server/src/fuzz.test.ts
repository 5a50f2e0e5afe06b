// Whatever is sent, the answer is a 4xx with an error body, never a 5xx, and nothing changes.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createApp } from './app.ts';
import { post } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

const run = new StandIn();
const app = createApp(run, { maxBody: 4096, onError: () => {} });

/** Almost right bodies: the right fields with anything in them. */
const input = fc.record(
  {
    image: fc.oneof(
      fc.anything(),
      fc.record({
        width: fc.oneof(fc.integer(), fc.anything()),
        height: fc.oneof(fc.integer(), fc.anything()),
        channels: fc.oneof(fc.constantFrom(1, 3, undefined), fc.anything()),
        pixels: fc.oneof(fc.string(), fc.array(fc.integer({ min: -1, max: 300 })), fc.anything()),
      }),
    ),
    text: fc.oneof(fc.anything(), fc.dictionary(fc.string(), fc.anything())),
  },
  { requiredKeys: [] },
);
const jsonBodies = fc
  .oneof(
    fc.anything(),
    fc.record({ inputs: fc.oneof(fc.array(input), fc.anything()), top: fc.anything() }, { requiredKeys: [] }),
    fc.record(
      { records: fc.oneof(fc.array(fc.anything()), fc.array(fc.string())), dryRun: fc.anything() },
      { requiredKeys: [] },
    ),
  )
  .map((value) => {
    try {
      return JSON.stringify(value) ?? 'undefined';
    } catch {
      return '[';
    }
  });
const bodies = fc.oneof({ weight: 4, arbitrary: jsonBodies }, fc.string(), fc.json());
const types = fc.oneof(
  { weight: 6, arbitrary: fc.constant('application/json') },
  fc.constantFrom('text/plain', '', 'a;b', 'application/json; charset=x'),
);
const paths = fc.constantFrom('/v1/predict', '/v1/erasures');

it('answers malformed bodies with 4xx', async () => {
  const before = await run.status();
  await fc.assert(
    fc.asyncProperty(paths, bodies, types, async (path, body, type) => {
      const response = await post(app, path, body, { 'Content-Type': type });
      if (response.status === 200) return; // fuzzing found a valid prediction
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.status).toBeLessThan(500);
      const { error } = (await response.json()) as {
        error: { message: string; code: string; path?: string };
      };
      expect(error.message).toBeTypeOf('string');
      expect(error.message).not.toMatch(/\n|\bat .*:\d+/);
      expect(error.code).toMatch(/^[a-z-]+$/);
    }),
    { numRuns: 600 },
  );
  expect(await run.status()).toEqual(before);
});

it('answers strange paths, methods and queries with 4xx', async () => {
  const segment = fc.oneof(
    fc.constantFrom('v1', 'erasures', 'predict', 'status', 'events', 'health', 'assets', '%00', '%'),
    fc.webSegment(),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { maxLength: 4 }),
      fc.constantFrom('PUT', 'DELETE', 'PATCH', 'OPTIONS', 'POST', 'GET'),
      fc.webQueryParameters(),
      async (parts, method, query) => {
        const response = await app.request(`/x/${parts.join('/')}?${query}`, { method });
        expect(response.status).toBe(404);
        const inside = await app.request(`/v1/erasures/${parts.join('/') || 'x'}?${query}`, { method });
        expect(inside.status).toBeGreaterThanOrEqual(400);
        expect(inside.status).toBeLessThan(500);
      },
    ),
    { numRuns: 300 },
  );
});
