import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Progress, type ProgressStream, renderBar } from './progress.ts';

delete process.env.FORCE_COLOR;

function stand(isTTY: boolean, columns = 80): { stream: ProgressStream; written: () => string } {
  let written = '';
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      written += chunk;
      done();
    },
  });
  return {
    stream: Object.assign(stream, { isTTY, columns, getColorDepth: () => 1 }),
    written: () => written,
  };
}

describe('in a terminal', () => {
  test('the bar fits, and says less where there is less room', () => {
    const state = { label: 'train', done: 42, total: 100, note: 'stage 2 of 12' };
    const wide = renderBar(state, 65, stand(true, 90).stream);
    expect(wide).toBe(`train ${'━'.repeat(10)}${'╌'.repeat(14)} 42 %  1 min 05 s left  stage 2 of 12`);
    expect(renderBar(state, 65, stand(true, 60).stream)).toBe(
      `train ${'━'.repeat(10)}${'╌'.repeat(14)} 42 %  1 min 05 s left`,
    );
    expect(renderBar(state, 65, stand(true, 20).stream)).toBe('train 42 %');
  });

  test('it redraws one line, not more than ten times a second', () => {
    let now = 0;
    const { stream, written } = stand(true);
    const progress = new Progress(stream, () => now);
    for (; now < 1000; now += 10) progress.update({ label: 'train', done: now, total: 2000 });
    expect(written().split('\r').length - 1).toBe(10);
    progress.log('a line that stays');
    expect(written().endsWith('\r\x1b[Ka line that stays\n')).toBe(true);
  });

  test('the time left follows the pace of the steps, and leaves the compiling before them out', () => {
    let now = 0;
    const { stream, written } = stand(true, 120);
    const progress = new Progress(stream, () => now);
    progress.update({ label: 'train', done: 0, total: 101 });
    now = 60_000;
    for (let done = 1; done <= 11; done++, now += 1000) progress.update({ label: 'train', done, total: 101 });
    expect(stripVTControlCharacters(written())).toMatch(/ 1 min 30 s left$/);
  });
});

test('elsewhere: a plain line now and then, and none for work that is done at once', () => {
  let now = 0;
  const { stream, written } = stand(false);
  const progress = new Progress(stream, () => now);
  for (let done = 1; done <= 40; done++, now += 1000) {
    progress.update({ label: 'repair', done, total: 40, note: 'stage 1 of 3' });
  }
  expect(written()).toBe('repair 40 %, 24 s left, stage 1 of 3\nrepair 77 %, 9.0 s left, stage 1 of 3\n');
});
