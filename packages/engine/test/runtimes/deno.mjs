// The packed engine on Deno, with Deno's own WebGPU: trains a net, and goes through the table.
import assert from 'node:assert/strict';
import { run } from '../pack.mjs';
import { inRuntime, packagedBinary, report, skip } from './report.mjs';

const deno =
  packagedBinary('@deno', 'deno') ?? skip(`npm has no Deno for ${process.platform}-${process.arch}`);
const name = `Deno ${run(deno, ['--version']).split(' ')[1]}`;
const flags = ['run', '-A', '--no-lock', '--node-modules-dir=manual', '--unstable-webgpu'];
await report(name, { dawn: false }, (folder) => {
  const { losses, classes } = inRuntime(deno, [...flags, 'tiny-net.mjs'], folder);
  assert.ok(losses[1] < 0.05, `the loss is still ${losses[1]}`);
  assert.deepEqual(classes, [0, 1, 1, 0]);
  return inRuntime(deno, [...flags, 'conformance.mjs'], folder);
});
