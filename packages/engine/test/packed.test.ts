import { afterAll, beforeAll, expect, test } from 'vitest';
import { node, run, unpackEngine } from './pack.mjs';

let packed: ReturnType<typeof unpackEngine>;
beforeAll(() => {
  packed = unpackEngine({ dawn: true });
});
afterAll(() => packed.remove());

test('what is published trains a net in an empty folder, with plain Node', () => {
  const { losses, classes } = JSON.parse(run(node, ['tiny-net.mjs'], packed.folder));
  expect(losses[1]).toBeLessThan(0.05);
  expect(losses[0]).toBeGreaterThan(0.5);
  expect(classes).toEqual([0, 1, 1, 0]);
});

test('no test and no source is published', () => {
  expect(packed.files).toContain('engine/dist/index.js');
  expect(packed.files).toContain('kernels/dist/sources.js');
  expect(packed.files.filter((file) => /\.test\.|\/src\/|tsbuildinfo/.test(file))).toEqual([]);
});
