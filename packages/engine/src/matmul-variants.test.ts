import { sources } from '@s3t/kernels';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AdapterClass, findAdapter } from './adapter.ts';
import type { MatmulProblem, OperandForm } from './matmul-problem.ts';
import { chooseMatmul, MOST_AT_ONCE } from './matmul-variants.ts';
import { specialise } from './specialise.ts';
import { textureForm } from './texture-form.ts';

let gpu: GPU;
let device: GPUDevice;
let ownClass: AdapterClass;
let failure: string | null = null;

beforeAll(async () => {
  const found = await findAdapter();
  gpu = found.gpu;
  ownClass = found.adapterClass;
  const wanted = ['subgroups'] as GPUFeatureName[];
  const requiredFeatures = wanted.filter((name) => found.adapter.features.has(name));
  device = await found.adapter.requestDevice({ requiredFeatures });
  device.addEventListener('uncapturederror', ({ error }) => {
    failure ??= error.message;
  });
});

afterAll(() => {
  device.destroy();
  // Dawn crashes when its entry point is collected before its devices.
  expect(gpu).toBeDefined();
});

const STORAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC
const pipelines = new Map<string, GPUComputePipeline>();

function compile(kernel: string, constants = {}, unroll = false): GPUComputePipeline {
  const key = kernel + JSON.stringify(constants);
  let pipeline = pipelines.get(key);
  if (!pipeline) {
    const module = device.createShaderModule({
      code: specialise(kernel, sources[kernel]!, constants, { unroll }),
    });
    pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
    pipelines.set(key, pipeline);
  }
  return pipeline;
}

function buffer(data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>, usage = STORAGE): GPUBuffer {
  const made = device.createBuffer({ size: Math.max(16, Math.ceil(data.byteLength / 16) * 16), usage });
  device.queue.writeBuffer(made, 0, data);
  return made;
}

const uniform = (words: Uint32Array<ArrayBuffer>): GPUBuffer => buffer(words, 0x40 | 0x08);

function launch(
  pipeline: GPUComputePipeline,
  resources: (GPUBuffer | GPUTexture)[],
  workgroups: [number, number, number],
): void {
  const entries = resources.map((resource, binding) => ({
    binding,
    resource: 'createView' in resource ? resource.createView() : { buffer: resource },
  }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...workgroups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** An operand in the form the plan asks for. */
function operand(form: OperandForm, data: GPUBuffer, rows: number, columns: number): GPUBuffer | GPUTexture {
  if (form === 'buffer') return data;
  const { width, height, bytesPerRow, copies, pad } = textureForm(rows, columns);
  const usage = 0x02 | 0x08; // COPY_DST | STORAGE_BINDING
  const texture = device.createTexture({ size: [width, height], format: 'rgba32float', usage });
  const encoder = device.createCommandEncoder();
  for (const copy of copies) {
    const source = { buffer: data, offset: copy.offset, bytesPerRow };
    encoder.copyBufferToTexture(source, { texture, origin: [0, copy.y] }, [copy.width, copy.height]);
  }
  device.queue.submit([encoder.finish()]);
  if (pad) launch(compile(pad.kernel), [data, texture, uniform(pad.params)], pad.workgroups);
  return texture;
}

async function download(source: GPUBuffer, length: number): Promise<Float32Array> {
  const staging = device.createBuffer({ size: length * 4, usage: 0x01 | 0x08 });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(source, 0, staging, 0, length * 4);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(0x01);
  const data = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  if (failure) throw new Error(failure);
  return data;
}

interface Data {
  a: Float32Array<ArrayBuffer>;
  b: Float32Array<ArrayBuffer>;
  c: Float32Array<ArrayBuffer>;
  bias: Float32Array<ArrayBuffer>;
  extra: Float32Array<ArrayBuffer>;
}

async function multiply(
  adapterClass: AdapterClass,
  problem: MatmulProblem,
  data: Data,
): Promise<Float32Array> {
  const { m, n, k, batch, transposeA, transposeB, sharedA, sharedB } = problem;
  const plan = chooseMatmul(adapterClass, problem);
  const [aRows, aColumns] = transposeA ? [k, m] : [m, k];
  const [bRows, bColumns] = transposeB ? [n, k] : [k, n];
  const [a, b, c, bias, extra] = [data.a, data.b, data.c, data.bias, data.extra].map((values) =>
    buffer(values),
  ) as GPUBuffer[];
  const { combine } = plan;
  const target = combine ? buffer(noise(batch * combine.parts * m * n, 9)) : c!;
  const bindings = {
    a: operand(plan.operands.a, a!, (sharedA ? 1 : batch) * aRows, aColumns),
    b: operand(plan.operands.b, b!, (sharedB ? 1 : batch) * bRows, bColumns),
    c: target,
    bias: bias!,
    extra: extra!,
  };
  const resources = [...plan.binds.map((name) => bindings[name]), uniform(plan.params)];
  launch(compile(plan.kernel, plan.constants, plan.unroll), resources, plan.workgroups);
  if (combine) {
    const { kernel, constants, params, workgroups } = combine;
    launch(compile(kernel, constants), [target, c!, uniform(params)], workgroups);
  }
  const result = await download(c!, batch * m * n);
  for (const resource of [a!, b!, c!, ...Object.values(bindings), ...resources]) resource.destroy();
  return result;
}

/** Numbers in [-1, 1), the same in every run. */
function noise(length: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function dataFor({ m, n, k, batch, sharedA, sharedB }: MatmulProblem): Data {
  return {
    a: noise((sharedA ? 1 : batch) * m * k, 1),
    b: noise((sharedB ? 1 : batch) * k * n, 2),
    c: noise(batch * m * n, 3),
    bias: noise(n, 4),
    extra: noise(batch * m * n, 5),
  };
}

function reference(problem: MatmulProblem, { a, b, c, bias, extra }: Data): Float64Array {
  const { m, n, k, batch, transposeA, transposeB, sharedA, sharedB, alpha = 1 } = problem;
  const result = new Float64Array(batch * m * n);
  for (let s = 0; s < batch; s++)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let dot = 0;
        for (let l = 0; l < k; l++) {
          const left = a[(sharedA ? 0 : s * m * k) + (transposeA ? l * m + i : i * k + l)]!;
          const right = b[(sharedB ? 0 : s * k * n) + (transposeB ? j * k + l : l * n + j)]!;
          dot += left * right;
        }
        const at = (s * m + i) * n + j;
        result[at] =
          alpha * dot +
          (problem.bias ? bias[j]! : 0) +
          (problem.accumulate ? c[at]! : 0) +
          (problem.residual ? extra[at]! : 0);
      }
  return result;
}

/** The worst error in units of what the rounding of a chain of k multiply-adds of numbers below 1 allows. */
async function worstError(adapterClass: AdapterClass, problem: MatmulProblem): Promise<number> {
  const data = dataFor(problem);
  const actual = await multiply(adapterClass, problem, data);
  const expected = reference(problem, data);
  const allowed = 2 ** -23 * (problem.k + 4);
  return actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!) / allowed), 0);
}

const NN = { transposeA: false, transposeB: false };
const NT = { transposeA: false, transposeB: true };
const TN = { transposeA: true, transposeB: false };
const transposes = { NN, NT, TN };

/** `rows` rows of op(A), from `first` on. */
function rowsOf(
  { m, k, transposeA }: MatmulProblem,
  a: Float32Array<ArrayBuffer>,
  first: number,
  rows: number,
): Float32Array<ArrayBuffer> {
  if (!transposeA) return a.slice(first * k, (first + rows) * k);
  return Float32Array.from({ length: rows * k }, (_, i) => a[Math.floor(i / rows) * m + first + (i % rows)]!);
}

// Compiling an unrolled kernel takes seconds where cores are shared.
const patience = { timeout: 600_000 };

describe.each(['software', 'portable', 'gpu'] as const)('%s kernels', patience, (adapterClass) => {
  // The kernels of lavapipe need features that few adapters have; the others run anywhere.
  const runs = (): boolean => adapterClass !== 'software' || ownClass === 'software';

  // Each is a kernel to compile: all transposes that are launched, of two shapes, and the table of operations has small ones of all.
  test.for([
    [1, 1, 1, ['NT']],
    [5, 10, 16, ['TN']],
    [17, 17, 49, ['NN', 'NT', 'TN']],
    [33, 16, 36, ['NN']],
    [140, 36, 20, ['NN', 'NT', 'TN']],
  ] as const)('%i x %i x %i', async ([m, n, k, names], { skip }) => {
    if (!runs()) skip('needs the subgroups of lavapipe');
    for (const name of names) {
      const transpose = transposes[name];
      const worst = await worstError(adapterClass, { m, n, k, batch: 1, ...transpose });
      expect(worst, name).toBeLessThan(1);
    }
  });

  test('batches, shared operands, alpha, bias and accumulation', async ({ skip }) => {
    if (!runs()) skip('needs the subgroups of lavapipe');
    const problem = { m: 10, n: 20, k: 12, batch: 3, alpha: -0.5, ...NT };
    expect(await worstError(adapterClass, problem)).toBeLessThan(1);
    expect(await worstError(adapterClass, { ...problem, sharedB: true, bias: true })).toBeLessThan(1);
    expect(await worstError(adapterClass, { ...problem, sharedA: true, accumulate: true })).toBeLessThan(1);
    const odd = { ...problem, n: 7, bias: true, accumulate: true };
    expect(await worstError(adapterClass, odd)).toBeLessThan(1);
    const deep = { m: 6, n: 8, k: 192, batch: 2, bias: true, accumulate: true, ...TN };
    expect(await worstError(adapterClass, deep)).toBeLessThan(1);
    const narrow = { m: 70, n: 12, k: 24, batch: 2, alpha: 0.25, accumulate: true, ...NT };
    expect(await worstError(adapterClass, narrow)).toBeLessThan(1);
  });

  test('a sum of nothing but -0 is 0, whichever kernel adds it up', async ({ skip }) => {
    if (!runs()) skip('needs the subgroups of lavapipe');
    for (const transpose of Object.values(transposes)) {
      const problem: MatmulProblem = { m: 140, n: 36, k: 20, batch: 1, ...transpose };
      const data = {
        ...dataFor(problem),
        a: new Float32Array(140 * 20),
        b: new Float32Array(36 * 20).fill(-1),
      };
      const signs = new Set((await multiply(adapterClass, problem, data)).map((value) => 1 / value));
      expect([...signs]).toEqual([Number.POSITIVE_INFINITY]);
    }
  });

  test('a residual, and sums deep enough to be computed in parts', async ({ skip }) => {
    if (!runs()) skip('needs the subgroups of lavapipe');
    const problem = { m: 10, n: 20, k: 12, batch: 3, alpha: -0.5, ...NT };
    expect(await worstError(adapterClass, { ...problem, residual: true, bias: true })).toBeLessThan(1);
    const parts = chooseMatmul(adapterClass, { m: 12, n: 20, k: 1100, batch: 2, ...TN }).combine?.parts;
    expect(parts).toBe(adapterClass === 'gpu' ? 5 : undefined);
    const deep = { m: 12, n: 20, k: 1100, batch: 2, alpha: 0.25, ...TN };
    expect(await worstError(adapterClass, deep)).toBeLessThan(1);
    if (!parts) return;
    expect(await worstError(adapterClass, { ...deep, accumulate: true })).toBeLessThan(1);
    expect(await worstError(adapterClass, { ...deep, bias: true })).toBeLessThan(1);
  });

  test.for([
    ['NN', 64, 20],
    ['NT', 64, 20],
    ['NT', 16, 20],
    ['TN', 64, 204],
    ['TN', 16, 1036],
    ['NT', 10, 204],
  ] as const)(
    'the bits of a row do not depend on the rows beside it: %s, n %i, k %i',
    async ([transpose, n, k], { skip }) => {
      if (!runs()) skip('needs the subgroups of lavapipe');
      const problem: MatmulProblem = { m: 150, n, k, batch: 1, ...transposes[transpose] };
      const data = dataFor(problem);
      const whole = await multiply(adapterClass, problem, data);
      for (const [first, rows] of [
        [0, 1],
        [149, 1],
        [3, 17],
        [50, 100],
      ] as const) {
        const part = await multiply(
          adapterClass,
          { ...problem, m: rows },
          { ...data, a: rowsOf(problem, data.a, first, rows) },
        );
        expect(part, `rows ${first} to ${first + rows - 1}`).toEqual(
          whole.slice(first * n, (first + rows) * n),
        );
      }
    },
  );

  test.for([
    [100, false],
    [21, true],
  ] as const)(
    'few rows or columns have the bits of many, batches too: k %i, accumulate %s',
    async ([k, accumulate], { skip }) => {
      if (!runs()) skip('needs the subgroups of lavapipe');
      const [few, most, many] = [20, 40, 1100];
      const base = { k, alpha: 0.3, accumulate, ...TN };
      const flat = (problem: MatmulProblem) => {
        const isFlat = chooseMatmul(adapterClass, problem).kernel === 'matmul/flat';
        expect(isFlat).toBe(adapterClass === 'software');
        return problem;
      };
      const twice = (values: Float32Array) => Float32Array.from([...values, ...values]);

      const wide: MatmulProblem = { ...base, m: most, n: many, batch: 1 };
      const data = dataFor(wide);
      const whole = await multiply(adapterClass, wide, data);
      const someRows = flat({ ...base, m: few, n: many, batch: 2 });
      const [b, c] = [data.b, data.c.slice(4 * many, 24 * many)].map(twice) as [Data['b'], Data['c']];
      const a = twice(rowsOf(wide, data.a, 4, few));
      const rows = await multiply(adapterClass, someRows, { ...dataFor(someRows), a, b, c });
      expect(rows).toEqual(twice(whole.slice(4 * many, 24 * many)));

      // The columns of a product are the rows of its transpose, whose operands change places.
      const someColumns = flat({ ...base, m: many, n: few, batch: 2 });
      const transposed = (values: Float32Array) =>
        Float32Array.from(values, (_, at) => values[(at % few) * many + Math.floor(at / few)]!);
      const turned = twice(transposed(data.c.slice(4 * many, 24 * many)));
      const columns = await multiply(adapterClass, someColumns, {
        ...dataFor(someColumns),
        ...{ a: b, b: a, c: turned },
      });
      expect(columns).toEqual(twice(transposed(whole.slice(4 * many, 24 * many))));
    },
  );

  test.for([
    [20, 130],
    [1101, 132],
  ] as const)(
    'the bits of a column do not depend on how many there are: %i rows, k %i',
    async ([m, k], { skip }) => {
      if (!runs()) skip('needs the subgroups of lavapipe');
      const problem = { m, n: 64, k, batch: 1, alpha: 0.3, ...NT };
      const data = dataFor(problem);
      const whole = await multiply(adapterClass, problem, data);
      for (const n of [10, 16, 32]) {
        const part = await multiply(adapterClass, { ...problem, n }, data);
        for (let i = 0; i < problem.m; i++) {
          expect(part.slice(i * n, (i + 1) * n), `n ${n}, row ${i}`).toEqual(whole.slice(i * 64, i * 64 + n));
        }
      }
    },
  );
});

test('a batch gives each of its products the bits it has alone', async () => {
  const problem: MatmulProblem = { m: 7, n: 12, k: 9, batch: 3, ...NN };
  const data = dataFor(problem);
  const whole = await multiply(ownClass, problem, data);
  const a = data.a.slice(7 * 9, 2 * 7 * 9);
  const b = data.b.slice(9 * 12, 2 * 9 * 12);
  const alone = await multiply(ownClass, { ...problem, batch: 1 }, { ...data, a, b });
  expect(whole.slice(7 * 12, 2 * 7 * 12)).toEqual(alone);
});

test('large tiles of a GPU, where there are enough, give the bits of small ones', async () => {
  const problem: MatmulProblem = { m: 130, n: 131, k: 19, batch: 1, alpha: 0.5, bias: true, ...NT };
  const data = dataFor(problem);
  const alone = await multiply('gpu', problem, data);
  const many: MatmulProblem = { ...problem, batch: 128, sharedA: true, sharedB: true };
  const tileOf = (each: MatmulProblem) => chooseMatmul('gpu', each).constants.TILE_M;
  expect([problem, many].map(tileOf)).toEqual([64, 128]);
  const together = await multiply('gpu', many, { ...dataFor(many), ...data, c: noise(128 * 130 * 131, 3) });
  for (const at of [0, 63, 127]) {
    expect(together.slice(at * alone.length, (at + 1) * alone.length)).toEqual(alone);
  }
});

test('what is taken at once is within 65,535 workgroups in each dimension', () => {
  const [m, n, batch] = [MOST_AT_ONCE.m, MOST_AT_ONCE.n, MOST_AT_ONCE.batch];
  for (const adapterClass of ['software', 'portable', 'gpu'] as const)
    for (const transpose of Object.values(transposes))
      for (const small of [1, 3, 4, 5, 64])
        for (const extents of [
          { m, n: small, k: 4096, batch: 1 },
          { m: small, n, k: 4096, batch: 1 },
          { m: small, n: 4, k: 4096, batch },
        ])
          expect(
            Math.max(...chooseMatmul(adapterClass, { ...extents, ...transpose }).workgroups),
          ).toBeLessThan(65_536);
});

test('the table refuses what is no product', () => {
  expect(() => chooseMatmul('gpu', { m: 2, n: 0, k: 3, batch: 1, ...NN })).toThrow(
    'matmul: no product of [1, 2, 3] and [1, 3, 0]',
  );
  expect(() => textureForm(2 ** 25, 1)).toThrow('has no texture form');
});

test('texture forms are byte copies of rows of 1024 texels, or padded', () => {
  expect(textureForm(100, 64)).toEqual({
    width: 1024,
    height: 2,
    bytesPerRow: 16384,
    copies: [
      { offset: 0, y: 0, width: 1024, height: 1 },
      { offset: 16384, y: 1, width: 576, height: 1 },
    ],
    pad: null,
  });
  const { height, copies, pad } = textureForm(3000, 10);
  expect([height, copies, pad?.workgroups]).toEqual([9, [], [16, 9, 1]]);
});
