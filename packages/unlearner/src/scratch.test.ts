import { Device } from '@s3t/engine';
import { expect, test } from 'vitest';
import { Project } from './testing/project.ts';

const time = async <T>(name: string, body: () => Promise<T>): Promise<T> => {
  const began = performance.now();
  const cpu = process.cpuUsage();
  const r = await body();
  const u = process.cpuUsage(cpu);
  console.log(
    name,
    (performance.now() - began).toFixed(0),
    'cpu',
    (u.user / 1000).toFixed(0),
    (u.system / 1000).toFixed(0),
  );
  return r;
};
test('times', async () => {
  const device = await time('device', () => Device.open());
  await using project = await time('project', () => Project.make());
  for (let s = 0; s < 2; s++) for (let l = 0; l < 3; l++) console.log(s, l, project.idsIn(s, l).length);
  const run = await time('open', () => project.open('a', { device }));
  await time('train', () => run.train());
  console.log(await time('evaluate', () => run.evaluate()));
  console.log(await time('erase', () => run.erase([project.idsIn(0, 1)[0]!])));
  console.log(await time('repair', () => run.repair()));
  await time('verify', () => run.verify());
  console.log(await time('verify', () => run.verify({ fromScratch: true })));
  await time('close', () => run.close());
  await time('copy', () => project.copy('a', 'b'));
  const b = await time('open b', () => project.open('b', { device }));
  expect((await b.status()).missing).toBe(0);
  await b.close();
}, 200_000);
