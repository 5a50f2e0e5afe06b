// The published engine under Deno, with Deno's own WebGPU: trains a net, and holds every operation against its reference.
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { findDeno, plainEnvironment, run, unpackEngine } from './pack.mjs';

const deno = findDeno();
if (deno === null) {
  console.log(`skipped: npm has no Deno for ${process.platform}-${process.arch}`);
  process.exit(0);
}
const packed = unpackEngine({ dawn: false });
try {
  cpSync(new URL('conformance.mjs', import.meta.url), join(packed.folder, 'conformance.mjs'));
  const flags = ['run', '-A', '--no-lock', '--node-modules-dir=manual', '--unstable-webgpu'];
  const inDeno = (script) =>
    JSON.parse(
      run(deno, [...flags, script], packed.folder, plainEnvironment())
        .trim()
        .split('\n')
        .at(-1),
    );
  const { adapterClass, losses, classes } = inDeno('tiny-net.mjs');
  assert.ok(losses[1] < 0.05, `the loss is still ${losses[1]}`);
  assert.deepEqual(classes, [0, 1, 1, 0]);
  const { operations, cases, wrong } = inDeno('conformance.mjs');
  assert.deepEqual(wrong, []);
  console.log(
    `Deno, ${adapterClass} kernels: a net trained, ${operations} operations right in ${cases} cases`,
  );
} finally {
  packed.remove();
}
