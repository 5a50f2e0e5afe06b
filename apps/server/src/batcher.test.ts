import type { Input, Prediction } from '@s3t/unlearner';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Batcher, type BatcherOptions } from './batcher.ts';
import { gate, settle } from './testing/request.ts';
import { RunError } from './testing/stand-in.ts';

const text = (name: string): Input => ({ text: { name } });
const nameOf = (input: Input): string =>
  'text' in input ? (input.text as Record<string, string>).name! : '';

/** Answers every input with its own name; waits for `hold` first. */
function echo(hold: () => Promise<void> | undefined, batches: string[][]): BatcherOptions['predict'] {
  return async (inputs): Promise<Prediction> => {
    batches.push(inputs.map(nameOf));
    await hold();
    const answers = inputs.map((input) => [{ label: nameOf(input), score: 1 }]);
    return { version: 1, manifest: 'm', stages: [], answers };
  };
}

describe('Batcher', () => {
  it('gathers what arrives while a batch runs, in order, and gives everyone their own', async () => {
    const batches: string[][] = [];
    const first = gate();
    const batcher = new Batcher({
      predict: echo(() => first.opened, batches),
      maxBatch: 4,
      maxQueue: 100,
      deadlineMs: 30_000,
    });
    const names = [['a'], ['b', 'c'], ['d'], ['e', 'f'], ['g']];
    const runs = names.map((list) => batcher.run(list.map(text)));
    expect(batcher.waiting).toBe(3);
    first.open();
    const answers = await Promise.all(runs);
    expect(answers.map(({ answers: all }) => all.map((scores) => scores[0]!.label))).toEqual(names);
    expect(batches).toEqual([['a'], ['b', 'c', 'd'], ['e', 'f', 'g']]);
    expect(batcher.waiting).toBe(0);
  });

  it('keeps every answer with its request, whatever the sizes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 20 }), async (sizes) => {
        const batches: string[][] = [];
        const batcher = new Batcher({
          predict: echo(() => undefined, batches),
          maxBatch: 8,
          maxQueue: 1000,
          deadlineMs: 30_000,
        });
        const names = sizes.map((size, at) => Array.from({ length: size }, (_, n) => `${at}.${n}`));
        const answers = await Promise.all(names.map((list) => batcher.run(list.map(text))));
        expect(answers.map(({ answers: all }) => all.map((scores) => scores[0]!.label))).toEqual(names);
        expect(batches.flat()).toEqual(names.flat());
        for (const batch of batches) expect(batch.length).toBeLessThanOrEqual(8);
      }),
      { numRuns: 50 },
    );
  });

  it('turns away what does not fit the queue, and nothing else', async () => {
    const first = gate();
    const batcher = new Batcher({
      predict: echo(() => first.opened, []),
      maxBatch: 2,
      maxQueue: 3,
      deadlineMs: 30_000,
    });
    const asked = ['ab', 'cd'].map((pair) => batcher.run([...pair].map(text)));
    const waiting = batcher.run([text('e'), text('f')]);
    expect(() => batcher.run([text('g'), text('h')])).toThrow(expect.objectContaining({ status: 429 }));
    const last = batcher.run([text('i')]);
    first.open();
    await Promise.all([...asked, waiting, last]);
  });

  it('asks for a second batch before the first is answered once it is full, and for no third', async () => {
    const batches: string[][] = [];
    const [first, rest] = [gate(), gate()];
    const hold = () => (batches.length === 1 ? first.opened : rest.opened);
    const batcher = new Batcher({
      predict: echo(hold, batches),
      maxBatch: 64,
      batch: 2,
      maxQueue: 100,
      deadlineMs: 30_000,
    });
    const runs = ['a', 'b'].map((name) => batcher.run([text(name)]));
    expect(batches).toEqual([['a']]);
    runs.push(batcher.run([text('c')]));
    expect(batches).toEqual([['a'], ['b', 'c']]);
    for (const name of ['d', 'e', 'f']) runs.push(batcher.run([text(name)]));
    // More than go together, but one request.
    runs.push(batcher.run([text('g'), text('h'), text('i')]));
    expect([batches.length, batcher.waiting]).toEqual([2, 6]);
    first.open();
    await runs[0];
    await settle();
    expect(batches.slice(2)).toEqual([['d', 'e']]);
    rest.open();
    await Promise.all(runs);
    expect(batches.slice(3)).toEqual([['f'], ['g', 'h', 'i']]);
  });

  it('does not let one bad request fail its neighbours', async () => {
    const first = gate();
    let calls = 0;
    const answer = echo(() => undefined, []);
    const batcher = new Batcher({
      predict: async (inputs) => {
        if (calls++ === 0) await first.opened;
        if (inputs.some((input) => nameOf(input) === 'bad')) throw new RunError('usage', 'inputs.0: no');
        return answer(inputs);
      },
      maxBatch: 8,
      maxQueue: 8,
      deadlineMs: 30_000,
    });
    const runs = ['first', 'good', 'bad', 'fine'].map((name) => batcher.run([text(name)]));
    first.open();
    const settled = await Promise.allSettled(runs);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  });

  it('asks once, not once per request, when the run cannot answer', async () => {
    let calls = 0;
    const first = gate();
    const batcher = new Batcher({
      predict: async () => {
        calls += 1;
        await first.opened;
        throw new RunError('unavailable', 'nothing');
      },
      maxBatch: 8,
      maxQueue: 8,
      deadlineMs: 30_000,
    });
    const runs = ['a', 'b', 'c'].map((name) => batcher.run([text(name)]));
    first.open();
    for (const run of await Promise.allSettled(runs)) expect(run.status).toBe('rejected');
    expect(calls).toBe(2);
  });

  it('does not compute for clients that have gone', async () => {
    const batches: string[][] = [];
    const first = gate();
    const gone = new AbortController();
    const batcher = new Batcher({
      predict: echo(() => first.opened, batches),
      maxBatch: 8,
      maxQueue: 8,
      deadlineMs: 30_000,
    });
    const runs = [batcher.run([text('a')]), batcher.run([text('b')], gone.signal), batcher.run([text('c')])];
    gone.abort();
    first.open();
    await Promise.allSettled(runs);
    expect(batches).toEqual([['a'], ['c']]);
  });

  it('finishes what it took when it is closed', async () => {
    const first = gate();
    const batcher = new Batcher({
      predict: echo(() => first.opened, []),
      maxBatch: 1,
      maxQueue: 8,
      deadlineMs: 30_000,
    });
    const runs = [batcher.run([text('a')]), batcher.run([text('b')])];
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    expect(() => batcher.run([text('c')])).toThrow(expect.objectContaining({ status: 503 }));
    await settle();
    expect(closed).toBe(false);
    first.open();
    await Promise.all(runs);
    await closing;
  });

  it('tells who has waited too long so, in the queue and in a batch, and keeps the others', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const batches: string[][] = [];
      const first = gate();
      const batcher = new Batcher({
        predict: echo(() => first.opened, batches),
        ...{ maxBatch: 8, maxQueue: 8, deadlineMs: 1000 },
      });
      const late = { status: 503, code: 'deadline', retryAfter: 5 };
      const computed = expect(batcher.run([text('a')])).rejects.toMatchObject(late);
      const queued = expect(batcher.run([text('b'), text('c')])).rejects.toMatchObject(late);
      await vi.advanceTimersByTimeAsync(600);
      const other = batcher.run([text('d')]);
      // One whose time began before it came here.
      const again = expect(batcher.run([text('e')], undefined, 100)).rejects.toMatchObject(late);
      expect(batcher.waiting).toBe(4);
      await vi.advanceTimersByTimeAsync(402);
      await Promise.all([computed, queued]);
      expect(batcher.waiting).toBe(2);
      await vi.advanceTimersByTimeAsync(100);
      await again;
      expect([batcher.waiting, batches]).toEqual([1, [['a']]]);
      first.open();
      await vi.advanceTimersByTimeAsync(1);
      expect((await other).answers[0]![0]!.label).toBe('d');
      expect(batches).toEqual([['a'], ['d']]);
      await batcher.close();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});
