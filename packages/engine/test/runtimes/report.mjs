// What the four runtime tests share: a folder with the packed engine, and one line of what came of it.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { plainEnvironment, root, run, unpackEngine } from '../pack.mjs';

/**
 * Runs the conformance suite over the packed engine and prints `RUNTIME, ADAPTER, CLASS: N operations right in M cases`.
 *
 * @param {string} runtime name and version
 * @param {{ dawn: boolean }} options whether the runtime needs the `webgpu` package
 * @param {(folder: string) => Conformance | Promise<Conformance>} start runs `conformance.mjs` in the folder
 * @typedef {import('../../src/testing/conformance.ts').Conformance} Conformance
 */
export async function report(runtime, options, start) {
  const packed = unpackEngine(options);
  try {
    const { adapter, adapterClass, operations, cases, wrong } = await start(packed.folder);
    assert.deepEqual(wrong, [], `${runtime}, ${adapter}, ${adapterClass}`);
    console.log(`${runtime}, ${adapter}, ${adapterClass}: ${operations} operations right in ${cases} cases`);
  } finally {
    packed.remove();
  }
}

/** Runs a script of the folder in another runtime and reads the last line it prints. */
export function inRuntime(command, args, folder) {
  return JSON.parse(run(command, args, folder, plainEnvironment()).trim().split('\n').at(-1));
}

/** Ends the test of a runtime that this machine does not have. */
export function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(0);
}

/**
 * The binary of a runtime that npm installed for this platform, or undefined.
 *
 * @param {string} scope where its platform packages live, such as `@deno`
 * @param {string} name the binary's
 */
export function packagedBinary(scope, name) {
  const folder = join(root, 'node_modules', scope);
  const isBinary = (file) => file === name || file === `${name}.exe`;
  try {
    for (const platform of readdirSync(folder)) {
      for (const place of [join(folder, platform), join(folder, platform, 'bin')]) {
        const file = readdirSync(place).find(isBinary);
        if (file && !statSync(join(place, file)).isDirectory()) return join(place, file);
      }
    }
  } catch {
    // none was installed
  }
  return undefined;
}
