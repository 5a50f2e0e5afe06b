import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Patience, type Recurring } from './patience.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Submits the work, lets it take `ms`, and returns for how long it was slept through. */
async function round(patience: Patience, work: Recurring, ms: number, times = 1): Promise<number> {
  for (let i = 0; i < times; i++) patience.submitted(work);
  const began = performance.now();
  let slept = 0;
  const sleeping = patience.sleep().then((finished) => {
    slept = performance.now() - began;
    return finished;
  });
  await vi.advanceTimersByTimeAsync(ms);
  await vi.runAllTimersAsync();
  const finished = await sleeping;
  finished();
  return slept;
}

test('sleeps through most of the time that work is known to take', async () => {
  const [patience, work] = [new Patience(), { typicalMs: 0, timed: 0 }];
  expect(await round(patience, work, 50)).toBe(0);
  expect(await round(patience, work, 50)).toBe(0);
  expect(await round(patience, work, 50)).toBe(40);
});

test('the first round, which compiles, is no guide', async () => {
  const [patience, work] = [new Patience(), { typicalMs: 0, timed: 0 }];
  await round(patience, work, 10_000);
  expect(await round(patience, work, 10)).toBe(0);
  expect(work.typicalMs).toBe(10);
});

test('a long queue or a wrong guess costs no more than a short nap', async () => {
  const [patience, work] = [new Patience(), { typicalMs: 5000, timed: 9 }];
  expect(await round(patience, work, 1, 200)).toBe(150);
  expect(work.typicalMs).toBeLessThan(1);
});

test('work too short for a timer is not slept through', async () => {
  const [patience, work] = [new Patience(), { typicalMs: 1, timed: 9 }];
  expect(await round(patience, work, 1)).toBe(0);
});

test('work that was submitted behind a wait is timed by itself', async () => {
  const patience = new Patience();
  const [one, other] = [
    { typicalMs: 20, timed: 9 },
    { typicalMs: 100, timed: 9 },
  ];
  patience.submitted(one);
  const first = patience.sleep();
  patience.submitted(other);
  const second = patience.sleep();
  await vi.advanceTimersByTimeAsync(20);
  (await first)();
  await vi.advanceTimersByTimeAsync(80);
  (await second)();
  expect([one.typicalMs, other.typicalMs]).toEqual([20, 80]);
});

test('work that was given up is neither slept through nor timed', async () => {
  const [patience, work] = [new Patience(), { typicalMs: 100, timed: 9 }];
  patience.submitted(work);
  const sleeping = patience.sleep();
  patience.interrupted();
  expect(await round(patience, { typicalMs: 0, timed: 0 }, 1)).toBe(0);
  (await sleeping)();
  expect(work).toEqual({ typicalMs: 100, timed: 9 });
});
