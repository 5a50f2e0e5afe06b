import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  attention,
  cachedAttention,
  cacheWrite,
  capture,
  type Device,
  EngineError,
  reshape,
  rope,
  ropeTable,
  ShapeError,
  scope,
  slice,
  type Tensor,
  tensor,
  uniformValues,
} from '../index.ts';
import { bitsOf } from '../testing/block.ts';
import { openAs } from '../testing/classes.ts';

const [BATCH, TOKENS, CAPACITY, HEADS, KEY_HEADS, WIDTH] = [2, 21, 24, 4, 2, 8];

test('heads that a subgroup shares: a text in two goes has the bits of the whole', async (context) => {
  const device = await openAs('software');
  if (!device) return context.skip('needs the subgroups of lavapipe');
  const [tokens, width, first] = [19, 80, 6];
  const [q, k, v] = [1, 2, 3].map((seed) =>
    tensor(device, uniformValues(tokens * width, 2, [seed, 7], 0), [1, tokens, width]),
  ) as [Tensor, Tensor, Tensor];
  const unwritten = () => tensor(device, new Float32Array(24 * width).fill(Number.NaN), [1, 24, width]);
  const cache = { keys: unwritten(), values: unwritten() };
  const part = (from: number, count: number) =>
    scope(() => {
      const start = tensor(device, Uint32Array.of(from));
      cacheWrite(cache.keys, slice(k, 1, from, count), start);
      cacheWrite(cache.values, slice(v, 1, from, count), start);
      return cachedAttention(slice(q, 1, from, count), cache, start, 1);
    });
  const parts = [part(0, first), part(first, tokens - first)];
  const whole = scope(() => attention(q, k, v, 1, { causal: true }));
  const read = (await Promise.all(parts.map((each) => each.read()))).flatMap((data) => [...data]);
  expect(bitsOf(Float32Array.from(read))).toBe(bitsOf(await whole.read()));
  device.close();
});

describe.each(['software', 'portable', 'gpu'] as const)('a key-value cache on %s kernels', (adapterClass) => {
  let device: Device | null;
  beforeAll(async () => {
    device = await openAs(adapterClass);
  });
  afterAll(() => device?.close());

  const values = (tokens: number, heads: number, seed: number) =>
    uniformValues(BATCH * tokens * heads * WIDTH, 2, [seed, 7], 0);
  /** A cache full of NaN: what was not written must not matter. */
  const emptyCache = () => {
    const size = BATCH * CAPACITY * KEY_HEADS * WIDTH;
    const make = () =>
      tensor(device!, new Float32Array(size).fill(Number.NaN), [BATCH, CAPACITY, KEY_HEADS * WIDTH]);
    return { keys: make(), values: make() };
  };

  test('decoding token by token, captured, has the bits of the whole sequence', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const table = ropeTable(device, { headWidth: WIDTH, positions: CAPACITY });
    const put = (heads: number, seed: number) =>
      tensor(device!, values(TOKENS, heads, seed), [BATCH, TOKENS, heads * WIDTH]);
    const [q, k, v] = [put(HEADS, 1), put(KEY_HEADS, 2), put(KEY_HEADS, 3)];
    const whole = scope(() =>
      attention(rope(q, table), rope(k, table), v, HEADS, { keyValueHeads: KEY_HEADS, causal: true }),
    );
    const expected = await whole.read();
    const width = HEADS * WIDTH;
    const rowOf = (data: Float32Array<ArrayBuffer>, tokens: number, batch: number, token: number) =>
      bitsOf(data.slice((batch * tokens + token) * width, (batch * tokens + token + 1) * width));

    const cache = emptyCache();
    const start = tensor(device, new Uint32Array(BATCH));
    const decode = (from: { q: Tensor; k: Tensor; v: Tensor }) => {
      cacheWrite(cache.keys, rope(from.k, table, start), start);
      cacheWrite(cache.values, from.v, start);
      return cachedAttention(rope(from.q, table, start), cache, start, HEADS, KEY_HEADS);
    };
    // Eleven tokens at once, of which the second batch row keeps only the first seven.
    const prompt = 11;
    const kept = [prompt, 7] as const;
    const first = scope(() =>
      decode({ q: slice(q, 1, 0, prompt), k: slice(k, 1, 0, prompt), v: slice(v, 1, 0, prompt) }),
    );
    const begun = await first.read();
    for (const batch of [0, 1])
      for (let token = 0; token < prompt; token++)
        expect(rowOf(begun, prompt, batch, token)).toBe(rowOf(expected, TOKENS, batch, token));

    // Then one at a time, each batch row at its own position, by one captured step.
    const next = {
      q: tensor(device, new Float32Array(BATCH * width), [BATCH, 1, width]),
      k: tensor(device, new Float32Array(BATCH * KEY_HEADS * WIDTH), [BATCH, 1, KEY_HEADS * WIDTH]),
      v: tensor(device, new Float32Array(BATCH * KEY_HEADS * WIDTH), [BATCH, 1, KEY_HEADS * WIDTH]),
    };
    const step = capture(device, () => decode(next));
    const sources = {
      q: values(TOKENS, HEADS, 1),
      k: values(TOKENS, KEY_HEADS, 2),
      v: values(TOKENS, KEY_HEADS, 3),
    };
    for (let at = 0; at + prompt < TOKENS; at++) {
      const positions = kept.map((tokens) => tokens + at);
      start.write(Uint32Array.from(positions));
      for (const name of ['q', 'k', 'v'] as const) {
        const size = next[name].size / BATCH;
        const rows = positions.map((position, batch) => {
          const from = (batch * TOKENS + position) * size;
          return [...sources[name].slice(from, from + size)];
        });
        next[name].write(Float32Array.from(rows.flat()));
      }
      step.replay();
      const found = await step.outputs.read();
      positions.forEach((position, batch) => {
        expect(rowOf(found, 1, batch, 0), `row ${batch}, token ${position}`).toBe(
          rowOf(expected, TOKENS, batch, position),
        );
      });
    }
    for (const each of [step, first, whole, table, q, k, v, start, cache.keys, cache.values]) each.dispose();
    for (const each of Object.values(next)) each.dispose();
  });

  test('rows of a larger cache are named anew in each replay, and have the bits of a cache of their own', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const put = (heads: number, seed: number) =>
      tensor(device!, values(TOKENS, heads, seed), [BATCH, TOKENS, heads * WIDTH]);
    const [q, k, v] = [put(HEADS, 1), put(KEY_HEADS, 2), put(KEY_HEADS, 3)];
    const whole = scope(() => attention(q, k, v, HEADS, { keyValueHeads: KEY_HEADS, causal: true }));
    const expected = await whole.read();
    const size = 5 * CAPACITY * KEY_HEADS * WIDTH;
    const make = () =>
      tensor(device!, new Float32Array(size).fill(Number.NaN), [5, CAPACITY, KEY_HEADS * WIDTH]);
    const cache = { keys: make(), values: make() };
    const at = (x: Tensor, from: number, count: number) => scope(() => slice(x, 1, from, count));
    const start = tensor(device, new Uint32Array(BATCH));
    const rows = tensor(device, new Uint32Array(BATCH));
    const parts = { q: at(q, 0, 7), k: at(k, 0, 7), v: at(v, 0, 7) };
    const step = capture(device, () => {
      cacheWrite(cache.keys, parts.k, start, rows);
      cacheWrite(cache.values, parts.v, start, rows);
      return cachedAttention(parts.q, { ...cache, rows }, start, HEADS, KEY_HEADS);
    });
    // Both texts at once, then each part with the rows of the batch the other way round: a text keeps its row.
    for (const [from, turned] of [
      [0, false],
      [7, true],
      [14, false],
    ] as const) {
      const order = turned ? [1, 0] : [0, 1];
      for (const [name, x] of Object.entries({ q, k, v })) {
        const data = await at(x, from, 7).read();
        const each = data.length / BATCH;
        const turnedData = order.flatMap((batch) => [...data.slice(batch * each, (batch + 1) * each)]);
        parts[name as 'q'].write(Float32Array.from(turnedData));
      }
      start.write(Uint32Array.of(from, from));
      rows.write(Uint32Array.from(order, (batch) => [3, 1][batch]!));
      step.replay();
      const found = await step.outputs.read();
      const each = HEADS * WIDTH;
      order.forEach((batch, row) => {
        const wanted = expected.slice((batch * TOKENS + from) * each, (batch * TOKENS + from + 7) * each);
        expect(bitsOf(found.slice(row * 7 * each, (row + 1) * 7 * each))).toBe(bitsOf(wanted));
      });
    }
    // The other rows of the cache were left alone.
    const written = await cache.values.read();
    const row = CAPACITY * KEY_HEADS * WIDTH;
    const touched = [0, 1, 2, 3, 4].filter((n) => !Number.isNaN(written[n * row]!));
    expect(touched).toEqual([1, 3]);
    for (const each of [step, whole, q, k, v, start, rows, ...Object.values(parts)]) each.dispose();
    for (const each of Object.values(cache)) each.dispose();
  });

  test('what would lie past the capacity is dropped', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const { keys } = emptyCache();
    const x = tensor(device, new Float32Array(BATCH * 3 * KEY_HEADS * WIDTH).fill(1), [
      BATCH,
      3,
      KEY_HEADS * WIDTH,
    ]);
    const start = tensor(device, Uint32Array.of(CAPACITY - 2, 0xffffffff));
    cacheWrite(keys, x, start);
    const written = (await keys.read()).map((value, i) => (value === 1 ? i : -1)).filter((i) => i >= 0);
    const width = KEY_HEADS * WIDTH;
    expect([...written]).toEqual(Array.from({ length: 2 * width }, (_, i) => (CAPACITY - 2) * width + i));
    for (const each of [keys, x, start]) each.dispose();
  });
});

test('what does not fit is named', async () => {
  const device = (await openAs('portable'))!;
  const x = (...shape: number[]) => tensor(device, new Float32Array(shape.reduce((a, b) => a * b)), shape);
  const start = tensor(device, new Uint32Array(2));
  const cache = x(2, 9, 8);
  expect(() => cacheWrite(cache, x(2, 3, 4), start)).toThrow(
    new ShapeError('cacheWrite: x [2,3,4] and cache [2,9,8] differ in axis 2'),
  );
  expect(() => cacheWrite(cache, x(1, 3, 8), start)).toThrow(
    new ShapeError('cacheWrite: x [1,3,8] and cache [2,9,8] differ in axis 0'),
  );
  expect(() => cacheWrite(cache, x(2, 3, 8), tensor(device, new Uint32Array(3)))).toThrow(
    new ShapeError('cacheWrite: start [3] is not [batch] of cache [2,9,8]'),
  );
  const constant = tensor(device, new Float32Array(144), [2, 9, 8], { constant: true });
  expect(() => cacheWrite(cache, reshape(cache, [2, 9, 8]), start)).toThrow(
    new EngineError('cacheWrite: x [2,9,8] is in the memory of cache [2,9,8]'),
  );
  expect(() => cacheWrite(constant, x(2, 3, 8), start)).toThrow(
    new EngineError('cacheWrite: cache [2,9,8] is constant'),
  );
  const words = tensor(device, new Uint32Array(48), [2, 3, 8]);
  for (const [input, held, wanted, call] of [
    [1, 'u32', 'f32 or f16', () => cacheWrite(cache, words, start)],
    [2, 'f32', 'u32', () => cacheWrite(cache, x(2, 3, 8), x(2))],
    [3, 'f32', 'u32', () => cacheWrite(cache, x(2, 3, 8), start, x(2))],
  ] as const)
    expect(call).toThrow(
      new ShapeError(
        `cacheWrite: input ${input} holds ${held}, not ${wanted}; the shapes are [2,9,8], [2,3,8], [2]${input === 3 ? ', [2]' : ''}`,
      ),
    );
  const other = (await openAs('portable'))!;
  expect(() => cacheWrite(cache, tensor(other, new Float32Array(48), [2, 3, 8]), start)).toThrow(
    new EngineError(
      'cacheWrite: inputs 0 and 1 are on different devices; the shapes are [2,9,8], [2,3,8], [2]',
    ),
  );
  await device.idle();
  other.close();
  expect(() => cacheWrite(x(2, 9, 6), x(2, 3, 6), start)).toThrow(/cache \[2,9,6\] must be/);
  const long = tensor(device, new Uint32Array(3));
  expect(() => cachedAttention(x(2, 1, 8), { keys: cache, values: cache }, long, 2)).toThrow(
    new ShapeError('cachedAttention: start [3] is not [batch] of q [2,1,8]'),
  );
  const rows = tensor(device, new Uint32Array(3));
  expect(() => cacheWrite(cache, x(3, 3, 8), long, start)).toThrow(
    new ShapeError('cacheWrite: rows [2] are not [batch] of 3'),
  );
  expect(() => cachedAttention(x(2, 1, 8), { keys: cache, values: cache, rows }, start, 2)).toThrow(
    new ShapeError('cachedAttention: rows [3] are not [batch] of 2'),
  );
  device.close();
});
