import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kernelIdentity } from '@s3t/engine';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { node, root, run, unpackEngine } from './pack.mjs';

let packed: ReturnType<typeof unpackEngine>;
beforeAll(() => {
  packed = unpackEngine({ dawn: true });
}, 120_000);
afterAll(() => packed?.remove());

test('what is published trains a net in an empty folder, with plain Node', () => {
  const { losses, classes } = JSON.parse(run(node, ['tiny-net.mjs'], packed.folder));
  expect(losses[1]).toBeLessThan(0.05);
  expect(losses[0]).toBeGreaterThan(0.5);
  expect(classes).toEqual([0, 1, 1, 0]);
});

test('no test and no source is published', () => {
  expect(packed.files).toContain('engine/dist/index.js');
  expect(packed.files).toContain('kernels/dist/sources.js');
  expect(packed.files.filter((file) => /\.test\.|\/src\/|\/testing\/|tsbuildinfo/.test(file))).toEqual([]);
});

test('it holds the kernels of this checkout, in the module itself: a browser has no files', () => {
  const print = "import('@s3t/engine').then(({ kernelIdentity }) => process.stdout.write(kernelIdentity()))";
  expect(run(node, ['-e', print], packed.folder)).toBe(kernelIdentity());
  const modules = packed.files.filter((file) => file.endsWith('.js'));
  const text = (file: string) => readFileSync(join(packed.folder, 'node_modules/@s3t', file), 'utf8');
  expect(modules.length).toBeGreaterThan(20);
  expect(modules.filter((file) => /['"]node:/.test(text(file)))).toEqual([]);
});

const CONSUMER = `import { AdamW, type Captured, capture, Device, gradients, linear, type Shape, type Tensor, tensor, total } from '@s3t/engine';
import { sources } from '@s3t/kernels';

export async function train(): Promise<number> {
  using device: Device = await Device.open();
  const shape: Shape = [2, 2];
  const weight: Tensor = tensor(device, [1, 2, 3, 4], shape, { trainable: true });
  const bias = tensor(device, [0, 0]);
  const optimiser = new AdamW(device, [weight]);
  const step: Captured<{ loss: Tensor }> = capture(device, () => {
    const loss = total(linear(weight.detach(), weight, bias));
    optimiser.apply(gradients(loss, [weight]));
    return { loss };
  });
  step.replay();
  const text: string | undefined = sources['matmul/tiled'];
  return (await step.outputs.loss.item()) + (text?.length ?? 0);
}
// @ts-expect-error: the types are there, and not any
export const wrong: number = Device.open;
`;

test('its types resolve, with nothing skipped', () => {
  writeFileSync(join(packed.folder, 'consumer.ts'), CONSUMER);
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable', 'dom'],
    types: [],
    strict: true,
    skipLibCheck: false,
    noEmit: true,
  };
  writeFileSync(
    join(packed.folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['consumer.ts'] }),
  );
  // It prints what is wrong, and the call fails.
  expect(run(node, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], packed.folder)).toBe('');
});
