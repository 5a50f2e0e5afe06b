import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RateLimiter } from './rate-limit.ts';

it('gives at most burst + rate * time, and no one waits longer than it says', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 2000 }), { minLength: 1, maxLength: 200 }),
      (perSecond, burst, pauses) => {
        let now = 0;
        const limiter = new RateLimiter(perSecond, burst, () => now);
        let taken = 0;
        for (const pause of pauses) {
          now += pause;
          const wait = limiter.take('a');
          if (wait === 0) taken += 1;
          else {
            expect(Number.isInteger(wait)).toBe(true);
            now += wait * 1000;
            expect(limiter.take('a')).toBe(0);
            taken += 1;
          }
          expect(taken).toBeLessThanOrEqual(burst + (perSecond * now) / 1000 + 1e-6);
        }
        expect(limiter.take('b')).toBe(0);
      },
    ),
  );
});

it('forgets whose bucket is full, and whom it must to stay small', () => {
  let now = 0;
  const limiter = new RateLimiter(1, 2, () => now);
  for (let n = 0; n < 12_000; n++) limiter.take(`early ${n}`);
  // The first were forgotten for those that came after them: they start afresh.
  for (const _ of [1, 2]) expect(limiter.take('early 0')).toBe(0);
  expect(limiter.take('early 0')).toBe(1);
  now = 60_000;
  for (let n = 0; n < 12_000; n++) expect(limiter.take(`late ${n}`)).toBe(0);
});
