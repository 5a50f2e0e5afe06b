import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type AttentionOptions,
  add,
  attention,
  concat,
  type Device,
  expand,
  gradients,
  multiply,
  permute,
  reshape,
  ShapeError,
  scope,
  slice,
  type Tensor,
  tensor,
  total,
  uniformValues,
} from '../index.ts';
import { bitsOf, bitsOfAll } from '../testing/block.ts';
import { openAs } from '../testing/classes.ts';

const [BATCH, HEADS, WIDTH] = [3, 2, 8];

/** Values of [batch, tokens, HEADS * WIDTH]. */
const values = (tokens: number, seed: number) =>
  uniformValues(BATCH * tokens * HEADS * WIDTH, 2, [seed, 7], 0);

/** Rows `from` to `to` of every batch row. */
const cut = (data: Float32Array, tokens: number, to: number) =>
  Float32Array.from(data.filter((_, i) => Math.floor(i / (HEADS * WIDTH)) % tokens < to));

interface Inputs {
  q: Float32Array<ArrayBuffer>;
  k: Float32Array<ArrayBuffer>;
  v: Float32Array<ArrayBuffer>;
  dy: Float32Array<ArrayBuffer>;
  mask?: Uint32Array<ArrayBuffer>;
}

describe.each(['software', 'portable'] as const)('attention by %s kernels', (adapterClass) => {
  let device: Device | null;
  beforeAll(async () => {
    device = await openAs(adapterClass);
  });
  afterAll(() => device?.close());

  /** Output and gradients, [y, dq, dk, dv]. */
  async function results(inputs: Inputs, batch: number, options: AttentionOptions = {}) {
    const made = scope(() => {
      const put = (data: Float32Array<ArrayBuffer>) =>
        tensor(device!, data, [batch, data.length / (batch * HEADS * WIDTH), HEADS * WIDTH], {
          trainable: true,
        });
      const { mask } = inputs;
      const [q, k, v] = [put(inputs.q), put(inputs.k), put(inputs.v)];
      const masked = mask ? { mask: tensor(device!, mask, [batch, mask.length / batch]) } : {};
      const y = attention(q, k, v, HEADS, { ...options, ...masked });
      return [y, ...gradients(total(multiply(y, put(inputs.dy))), [q, k, v])];
    });
    const found: Float32Array<ArrayBuffer>[] = [];
    for (const each of made) {
      found.push(await each.read());
      each.dispose();
    }
    return found as [y: Float32Array<ArrayBuffer>, ...typeof found];
  }

  test('keys masked at the end give the bits of leaving them out, and get no gradient', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const [tokens, real] = [13, 9];
    const inputs = { q: values(9, 1), k: values(tokens, 2), v: values(tokens, 3), dy: values(9, 4) };
    const mask = Uint32Array.from({ length: BATCH * tokens }, (_, i) => (i % tokens < real ? 1 : 0));
    const short = { ...inputs, k: cut(inputs.k, tokens, real), v: cut(inputs.v, tokens, real) };
    const expected = await results(short, BATCH);
    const found = await results({ ...inputs, mask }, BATCH);
    const visible = [found[0], found[1]!, cut(found[2]!, tokens, real), cut(found[3]!, tokens, real)];
    expect(visible.map(bitsOf)).toEqual(expected.map(bitsOf));
    for (const gradient of found.slice(2)) {
      const past = gradient!.filter((_, i) => Math.floor(i / (HEADS * WIDTH)) % tokens >= real);
      expect(past.every((value) => Object.is(value, 0))).toBe(true);
    }
  });

  test('the first tokens of a causal sequence have the bits they have without the others', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const [tokens, first] = [13, 9];
    const inputs = {
      q: values(tokens, 1),
      k: values(tokens, 2),
      v: values(tokens, 3),
      dy: values(tokens, 4),
    };
    // Nothing comes back from the later queries, so that the gradients of the first tokens are theirs alone.
    inputs.dy.forEach((_, i) => {
      if (Math.floor(i / (HEADS * WIDTH)) % tokens >= first) inputs.dy[i] = 0;
    });
    const short = Object.fromEntries(
      Object.entries(inputs).map(([name, data]) => [name, cut(data, tokens, first)]),
    ) as unknown as Inputs;
    const expected = await results(short, BATCH, { causal: true });
    const found = await results(inputs, BATCH, { causal: true });
    expect(found.map((data) => bitsOf(cut(data, tokens, first)))).toEqual(expected.map(bitsOf));
  });

  test('an offset past all keys hides none of them, however large', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const inputs = { q: values(9, 1), k: values(9, 2), v: values(9, 3), dy: values(9, 4) };
    const expected = (await results(inputs, BATCH)).map(bitsOf);
    for (const offset of [9, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER])
      expect((await results(inputs, BATCH, { causal: true, offset })).map(bitsOf)).toEqual(expected);
  });

  test('the bits of a batch row do not depend on its neighbours', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const tokens = 13;
    const inputs = {
      q: values(tokens, 1),
      k: values(tokens, 2),
      v: values(tokens, 3),
      dy: values(tokens, 4),
    };
    const mask = Uint32Array.from({ length: BATCH * tokens }, (_, i) => (i % 5 === 2 ? 0 : 1));
    const together = await results({ ...inputs, mask }, BATCH, { causal: true });
    const size = tokens * HEADS * WIDTH;
    for (let row = 0; row < BATCH; row++) {
      const own = Object.fromEntries(
        Object.entries(inputs).map(([name, data]) => [name, data.slice(row * size, (row + 1) * size)]),
      ) as unknown as Inputs;
      const alone = await results({ ...own, mask: mask.slice(row * tokens, (row + 1) * tokens) }, 1, {
        causal: true,
      });
      const same = together.map((data) => bitsOf(data.slice(row * size, (row + 1) * size)));
      expect(alone.map(bitsOf), `row ${row}`).toEqual(same);
    }
  });

  test('queries that see no key give zeros, and zeros as gradients', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const tokens = 13;
    const inputs = {
      q: values(tokens, 1),
      k: values(tokens, 2),
      v: values(tokens, 3),
      dy: values(tokens, 4),
    };
    // Of the first batch row every key is masked; of the second the first two.
    const mask = Uint32Array.from({ length: BATCH * tokens }, (_, i) => (i < tokens + 2 ? 0 : 1));
    const found = await results({ ...inputs, mask }, BATCH, { causal: true });
    const row = HEADS * WIDTH;
    const dark = [(tokens + 2) * row, (tokens + 2) * row, (tokens + 2) * row, (tokens + 2) * row];
    found.forEach((data, i) => {
      expect(data.slice(0, dark[i]).every((value) => value === 0)).toBe(true);
      expect(data.slice(dark[i]).every((value) => Number.isFinite(value))).toBe(true);
      expect(data.slice(dark[i]).some((value) => value !== 0)).toBe(true);
    });
  });

  test('a head of keys that serves several of queries is as good as copies of it', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const [tokens, keyHeads] = [11, 1];
    const [shared, copied] = scope(() => {
      const wide = (seed: number) => tensor(device!, values(tokens, seed), [BATCH, tokens, HEADS * WIDTH]);
      const narrow = (seed: number) => slice(wide(seed), 2, 0, WIDTH);
      const copies = (x: Tensor) =>
        reshape(expand(reshape(x, [BATCH, tokens, 1, WIDTH]), [BATCH, tokens, HEADS, WIDTH]), [
          BATCH,
          tokens,
          HEADS * WIDTH,
        ]);
      const [q, k, v] = [wide(1), narrow(2), narrow(3)];
      return [
        attention(q, k, v, HEADS, { causal: true, keyValueHeads: keyHeads }),
        attention(q, copies(k), copies(v), HEADS, { causal: true }),
      ];
    });
    expect(bitsOf(await shared!.read())).toBe(bitsOf(await copied!.read()));
    shared!.dispose();
    copied!.dispose();
  });
});

describe('gradients in blocks', () => {
  const WIDTH_OF_HEAD = 4;
  let device: Device | null;
  beforeAll(async () => {
    device = await openAs('software');
  });
  afterAll(() => device?.close());

  const put = (batch: number, tokens: number, heads: number, seed: number) =>
    tensor(
      device!,
      uniformValues(batch * tokens * heads * WIDTH_OF_HEAD, 2, [seed, 7], 0),
      [batch, tokens, heads * WIDTH_OF_HEAD],
      { trainable: true },
    );
  const gradientsOf = ([q, k, v, dy]: readonly [Tensor, Tensor, Tensor, Tensor], heads: number) =>
    gradients(total(multiply(attention(q, k, v, heads), dy)), [q, k, v]) as [Tensor, Tensor, Tensor];

  test('those of many queries are those of every 128, added', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    const [block, rest, keys] = [128, 3, 9];
    const results = scope(() => {
      const [q, k, v, dy] = [
        put(1, block + rest, 1, 1),
        put(1, keys, 1, 2),
        put(1, keys, 1, 3),
        put(1, block + rest, 1, 4),
      ];
      const whole = gradientsOf([q, k, v, dy], 1);
      const part = (from: number, count: number) => {
        const leaf = slice(q.detach(), 1, from, count);
        leaf.trainable = true;
        return gradientsOf([leaf, k, v, slice(dy, 1, from, count)], 1);
      };
      const [first, last] = [part(0, block), part(block, rest)];
      const joined = [concat([first[0], last[0]], 1), add(first[1], last[1]), add(first[2], last[2])];
      return [...whole, ...joined];
    });
    const bits = await bitsOfAll(results);
    expect(bits.slice(3)).toEqual(bits.slice(0, 3));
  });

  test('of many keys, a few heads or batch rows at once', async (context) => {
    if (!device) return context.skip('needs the subgroups of lavapipe');
    // So many keys that a block holds the scores of four matrices.
    const [matrices, queries, keys] = [6, 3, 2048];
    const results = scope(() => {
      const rows = [put(matrices, queries, 1, 1), put(matrices, keys, 1, 2), put(matrices, keys, 1, 3)];
      const dy = put(matrices, queries, 1, 4);
      const asHeads = (x: Tensor) => reshape(permute(x.detach(), [1, 0, 2]), [1, x.shape[1]!, -1]);
      const heads = rows.map((x) => {
        const leaf = asHeads(x);
        leaf.trainable = true;
        return leaf;
      });
      const byRow = gradientsOf([rows[0]!, rows[1]!, rows[2]!, dy], 1);
      const byHead = gradientsOf([heads[0]!, heads[1]!, heads[2]!, asHeads(dy)], matrices);
      return [...byRow.map(asHeads), ...byHead];
    });
    const bits = await bitsOfAll(results);
    expect(bits.slice(3)).toEqual(bits.slice(0, 3));
  });
});

test('the kernels for GPUs have the bits of the plain ones', async (context) => {
  const devices = [(await openAs('portable'))!, (await openAs('gpu'))!];
  // Compilers of GPUs may contract products and sums in one kernel and not in the other.
  if (!/llvmpipe|swiftshader/i.test(devices[0]!.adapterName))
    return context.skip('compares bits that only software adapters promise');
  // Heads of 16: the narrowest that the tiled kernel takes.
  const [batch, queries, keys, width] = [2, 37, 53, 16];
  const found: string[][] = [];
  for (const device of devices) {
    const results = scope(() => {
      const put = (tokens: number, heads: number, seed: number) =>
        tensor(
          device,
          uniformValues(batch * tokens * heads * width, 2, [seed, 7], 0),
          [batch, tokens, heads * width],
          { trainable: true },
        );
      const [q, k, v, dy] = [put(queries, 2, 1), put(keys, 2, 2), put(keys, 2, 3), put(queries, 2, 4)];
      const visible = Uint32Array.from({ length: batch * keys }, (_, i) =>
        i % 3 === 0 || i < keys / 2 ? 0 : 1,
      );
      const mask = tensor(device, visible, [batch, keys]);
      const y = attention(q, k, v, 2, { causal: true, offset: 9, mask });
      return [y, ...gradients(total(multiply(y, dy)), [q, k, v])];
    });
    found.push(await bitsOfAll(results));
  }
  expect(found[1]).toEqual(found[0]);
  for (const device of devices) device.close();
});

test('what does not fit is named', async () => {
  const device = (await openAs('portable'))!;
  const x = (...shape: number[]) => tensor(device, new Float32Array(shape.reduce((a, b) => a * b)), shape);
  const [q, k] = [x(2, 3, 16), x(2, 5, 8)];
  expect(() => attention(q, k, k, 4, { keyValueHeads: 3 })).toThrow(
    new ShapeError('attention: 4 heads of q [2,3,16] cannot share 3 heads of k [2,5,8]'),
  );
  expect(() => attention(q, k, k, 4, { keyValueHeads: 4 })).toThrow(
    new ShapeError('attention: q [2,3,16] and k [2,5,8] differ in axis 2'),
  );
  expect(() => attention(q, k, k, 4, { keyValueHeads: 1 })).toThrow(
    new ShapeError('attention: axis 2 of q [2,3,16] and k [2,5,8] is not 4 and 1 heads of one width'),
  );
  const mask = tensor(device, new Uint32Array(6), [2, 3]);
  expect(() => attention(q, k, k, 4, { keyValueHeads: 2, mask })).toThrow(
    new ShapeError('attention: mask [2,3] is not [batch, keys] of k [2,5,8]'),
  );
  expect(() => attention(q, k, k, 4, { keyValueHeads: 2, mask: x(2, 5) })).toThrow(
    /input 3 holds f32, not u32/,
  );
  expect(() => attention(q, k, k, 4, { keyValueHeads: 2, causal: true, offset: -1 })).toThrow(
    new ShapeError('attention: offset -1 is not a number of keys'),
  );
  device.close();
});
