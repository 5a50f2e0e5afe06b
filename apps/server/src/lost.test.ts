// What opening a lost run again finishes of an erasure is told by no event: what the app keeps of a run is read anew.
import { afterEach, expect, it, vi } from 'vitest';
import { type App, createApp } from './app.ts';
import { settle } from './testing/request.ts';
import { StandIn } from './testing/stand-in.ts';

let app: App;
afterEach(() => app.shutdown());

it('after the run was lost, receipts, numbers and what waits for a repair are read anew', async () => {
  const losses = new Set<() => Promise<void>>();
  const onLost = (listener: () => Promise<void>) => {
    losses.add(listener);
    return () => losses.delete(listener);
  };
  const run = Object.assign(new StandIn(), { onLost });
  const listeners: Parameters<StandIn['on']>[0][] = [];
  vi.spyOn(run, 'on').mockImplementation((listener) => {
    listeners.push(listener);
    return () => {};
  });
  const standing = vi.spyOn(run, 'repairStanding');
  app = createApp(run, { onError: () => {} });
  const seen = async () => {
    const { erasures } = await (await app.request('/v1/erasures')).json();
    const text = await (await app.request('/metrics')).text();
    return [erasures.length, Number(/^s3t_records_erased (\S+)$/m.exec(text)?.[1])];
  };
  expect(await seen()).toEqual([0, 0]);
  await settle();
  const looks = standing.mock.calls.length;

  // Nobody hears of this erasure.
  await run.erase({ records: ['train/0'] });
  expect(await seen()).toEqual([0, 0]);
  await Promise.all([...losses].map((lost) => lost()));
  const version = await run.version();
  for (const listener of listeners) listener({ type: 'version', ...version });
  expect(await seen()).toEqual([1, 1]);
  await expect.poll(() => standing.mock.calls.length).toBe(looks + 1);
});
