import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sources } from '@s3t/kernels';
import { expect, test } from 'vitest';
import {
  AdapterError,
  add,
  affine,
  cast,
  concat,
  Device,
  EngineError,
  ShapeError,
  tensor,
  tensorInPieces,
  zeros,
} from './index.ts';

// Every test spoils a device, so each opens its own.

const BROKEN = `const SIZE: u32 = 4u;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  y[id.x] = undeclared * 2.0;
}
`;

/** Adds a kernel to the table for the time of `body`. */
async function withKernel(name: string, text: string, body: () => Promise<void>): Promise<void> {
  const table = sources as Record<string, string>;
  table[name] = text;
  try {
    await body();
  } finally {
    delete table[name];
  }
}

test('a kernel that does not compile: its name, what it is specialised by, the line and what is wrong', async () => {
  using device = await Device.open();
  const x = tensor(device, [1, 2, 3, 4]);
  await withKernel('test/broken', BROKEN, async () => {
    device.dispatch('test/broken', {
      values: { SIZE: 8 },
      bindings: [x.storage],
      writes: [0],
      workgroups: [1, 1, 1],
    });
    const failure = await x.read().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineError);
    const { message } = failure as EngineError;
    expect(message).toContain('kernel test/broken {"SIZE":8} does not compile');
    expect(message).toContain('line 6');
    expect(message).toContain('undeclared');
    expect(message.split('\n')).toHaveLength(1);
  });
});

test('with loops unrolled the line shown is the one that fails', async () => {
  using device = await Device.open();
  const x = tensor(device, [1, 2, 3, 4]);
  const text = BROKEN.replace(
    '  y[id.x] = undeclared * 2.0;',
    `  // @unroll
  for (var i = 0u; i < SIZE; i++) {
    y[i] = f32(i);
  }
  y[id.x] = undeclared * 2.0;`,
  );
  await withKernel('test/broken_loop', text, async () => {
    device.dispatch('test/broken_loop', {
      unroll: true,
      bindings: [x.storage],
      writes: [0],
      workgroups: [1, 1, 1],
    });
    // Unrolling moves lines: the text of the line says where it is.
    await expect(x.read()).rejects.toThrow(/test\/broken_loop.*line \d+.*y\[id\.x\] = undeclared \* 2\.0;/);
  });
});

test('an unknown kernel, constant or value is refused at once, and spoils nothing', async () => {
  using device = await Device.open();
  const x = tensor(device, [1, 2, 3, 4]);
  const dispatch = (kernel: string, values: Record<string, number>) => () =>
    device.dispatch(kernel, { values, bindings: [x.storage], writes: [0], workgroups: [1, 1, 1] });
  expect(dispatch('elementwise/nothing', {})).toThrow('no kernel named elementwise/nothing');
  expect(dispatch('elementwise/unary', { colour: 1 })).toThrow(
    'kernel elementwise/unary has no constant or alias named colour',
  );
  expect(dispatch('elementwise/unary', { operation: -1 })).toThrow(EngineError);
  expect([...(await x.read())]).toEqual([1, 2, 3, 4]);
});

test('more workgroups than a dimension takes are refused at once, with the kernel and their counts', async () => {
  using device = await Device.open();
  const x = tensor(device, [1, 2, 3, 4]);
  const step = () =>
    device.dispatch('norm/softmax', { bindings: [x.storage], writes: [0], workgroups: [1, 65_536, 2] });
  const refusal = 'norm/softmax: 1 x 65536 x 2 workgroups are over the 65535 of a dimension';
  expect(step).toThrow(new EngineError(refusal));
  const { recorder } = device.record(() => expect(step).toThrow(refusal));
  expect(recorder.commands).toEqual([]);
  await device.idle();
  expect([...(await x.read())]).toEqual([1, 2, 3, 4]);
});

test('what WebGPU finds wrong becomes an error at the next read, and at everything after it', async () => {
  using device = await Device.open();
  const x = tensor(device, [1, 2, 3, 4]);
  // A binding is missing.
  device.dispatch('elementwise/affine', { bindings: [x.storage], writes: [0], workgroups: [1, 1, 1] });
  const failure = await x.read().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(EngineError);
  expect((failure as EngineError).message).toMatch(/^WebGPU: \S.*/);
  expect((failure as EngineError).message.split('\n')).toHaveLength(1);
  await expect(x.read()).rejects.toBe(failure);
  expect(() => affine(x, 2)).toThrow(failure as EngineError);
  await expect(device.idle()).rejects.toBe(failure);
});

test('tensors of two devices are refused by name, and both devices go on', async () => {
  using device = await Device.open();
  using other = await Device.open();
  const [x, y] = [tensor(device, [1, 2, 3]), tensor(other, [4])];
  expect(() => add(x, y)).toThrow(
    new EngineError('add: inputs 0 and 1 are on different devices; the shapes are [3], [1]'),
  );
  expect([...(await affine(x, 2).read())]).toEqual([2, 4, 6]);
  expect([...(await affine(y, 2).read())]).toEqual([8]);
});

test('what a tensor cannot hold is not written into it', async () => {
  using device = await Device.open();
  const half = cast(zeros(device, [1024]), 'f16');
  for (const words of [1024, 512]) expect(() => half.write(new Uint32Array(words))).toThrow(/^write: /);
  await expect(tensorInPieces(device, [4], async (write) => write(new Float32Array(3), 2))).rejects.toEqual(
    new ShapeError('tensorInPieces: 3 values from 2 on are not within shape [4]'),
  );
  expect((await half.read()).every((value) => value === 0)).toBe(true);
});

test('an operation over no tensors at all is refused by name', () => {
  expect(() => concat([], 0)).toThrow(new ShapeError('concat: there are no inputs'));
});

test('devices may be opened and closed in any number while garbage is collected', async () => {
  const child = fileURLToPath(new URL('./testing/reopen-child.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--conditions=@s3t/source', child],
    { timeout: 120_000 },
  );
  expect(stdout).toBe('alive');
}, 120_000);

test('no adapter: the error says what to install', async () => {
  const gpu = { requestAdapter: async () => null } as unknown as GPU;
  await expect(Device.open({ gpu })).rejects.toThrow(AdapterError);
  await expect(Device.open({ gpu })).rejects.toThrow(
    /no WebGPU adapter: install a Vulkan driver .*npm run setup/,
  );
});
