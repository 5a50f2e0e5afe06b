import { expect, test, vi } from 'vitest';
import { RightOfWay } from './right-of-way.ts';

test('others wait until the last holder is done, whether it succeeds or fails', async () => {
  const way = new RightOfWay();
  await way.clear();
  const order: string[] = [];
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = [way.hold(() => first.promise), way.hold(() => second.promise)];
  const waiting = way.clear().then(() => order.push('clear'));
  first.reject(new Error('failed'));
  await expect(holding[0]).rejects.toThrow('failed');
  order.push('one is done');
  second.resolve();
  await Promise.all([holding[1], waiting]);
  expect(order).toEqual(['one is done', 'clear']);
});

test('whoever waits for the section goes before those who wait for the way', async () => {
  const way = new RightOfWay();
  const order: string[] = [];
  const held = way.hold(async () => {});
  const waiting = way.clear().then(() => order.push('clear'));
  await held;
  for (let microtask = 0; microtask < 20; microtask++) await null;
  order.push('answered');
  await waiting;
  expect(order).toEqual(['answered', 'clear']);
});

test('one that is held again before it was clear keeps waiting', async () => {
  const way = new RightOfWay();
  const again = Promise.withResolvers<void>();
  let isClear = false;
  const first = way.hold(async () => {});
  const waiting = way.clear().then(() => {
    isClear = true;
  });
  await first;
  const second = way.hold(() => again.promise);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isClear).toBe(false);
  again.resolve();
  await Promise.all([second, waiting]);
  expect(isClear).toBe(true);
});

test('a section that takes too long holds up nobody else', async () => {
  vi.useFakeTimers();
  try {
    const way = new RightOfWay();
    const stuck = Promise.withResolvers<void>();
    const held = way.hold(() => stuck.promise);
    let isClear = false;
    const waiting = way.clear().then(() => {
      isClear = true;
    });
    await vi.advanceTimersByTimeAsync(499);
    expect(isClear).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await waiting;
    stuck.resolve();
    await held;
    await vi.runAllTimersAsync();
    // It was let go of once, not twice: the next one holds as long as it needs.
    const next = Promise.withResolvers<void>();
    const holding = way.hold(() => next.promise);
    const blocked = await Promise.race([
      way.clear().then(() => false),
      vi.advanceTimersByTimeAsync(10).then(() => true),
    ]);
    expect(blocked).toBe(true);
    next.resolve();
    await holding;
  } finally {
    vi.useRealTimers();
  }
});

test('what is under way when a section begins is told so, what begins later is not', async () => {
  const way = new RightOfWay();
  const before = way.next;
  expect(before.aborted).toBe(false);
  const held = way.hold(async () => {});
  expect(before.aborted).toBe(true);
  expect(way.next.aborted).toBe(false);
  await held;
  expect(way.next.aborted).toBe(false);
});
