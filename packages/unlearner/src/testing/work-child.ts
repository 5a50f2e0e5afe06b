// A process that works on a run, to be killed or to show that another process gives the same bytes. One JSON line per event.
import { writeSync } from 'node:fs';
import { Device } from '@s3t/engine';
import { Unlearner } from '../unlearner.ts';
import type { Work } from './child.ts';

const say = (line: object): void => void writeSync(1, `${JSON.stringify(line)}\n`);

const device = await Device.open();
say({ type: 'ready' });
const work = await new Promise<Work>((resolve) => {
  process.stdin.once('data', (chunk) => resolve(JSON.parse(String(chunk)) as Work));
});
try {
  const run = await Unlearner.open({ run: work.run, config: work.config, device });
  run.on(({ type }) => say({ type }));
  say({ type: 'opened' });
  if (work.command === 'hold') await new Promise(() => {});
  if (work.command === 'train') await run.train();
  const { ids = [], idempotencyKey } = work;
  const receipt = work.command === 'erase' ? await run.erase(ids, { idempotencyKey }) : null;
  if (receipt) say({ type: 'acknowledged', receipt });
  const status = await run.status();
  await run.close();
  say({ type: 'done', status, receipt });
  device.close();
  process.exit(0);
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  say({ type: 'failed', code, message });
  process.exit(1);
}
