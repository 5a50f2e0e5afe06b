/** Finds an environment in which Dawn has a WebGPU adapter, and gets a software one when there is none. */
import { fileURLToPath } from 'node:url';
import { collect } from './child.mjs';
import { prependPath } from './environment.mjs';
import { prepareLavapipe } from './lavapipe.mjs';
import { currentSystem, installHelp } from './platform.mjs';
import { SetupError, say } from './report.mjs';

const PROBE = fileURLToPath(new URL('probe.mjs', import.meta.url));

/**
 * @param {string} root the checkout
 * @param {string} node the Node to probe with
 * @param {NodeJS.ProcessEnv} ambient the environment without anything of ours
 * @returns {Promise<{env: Record<string, string>, probe: import('./probe.mjs').Probe}>} `env`: what to add to
 *   the environment; empty when the machine's own adapter does
 * @throws {SetupError} when no adapter works and none can be had
 */
export async function findAdapter(root, node, ambient) {
  const own = await probeIn(root, node, ambient);
  if (own.ok) return { env: {}, probe: own };
  if (process.platform !== 'linux') {
    throw new SetupError(
      `no WebGPU adapter works on this machine: ${own.error}`,
      installHelp(currentSystem()),
    );
  }
  const { loader, lavapipe } = await prepareLavapipe(root);
  // A container often has the GPU's driver but not the Vulkan loader: that alone may be all that was missing.
  const withLoader = await probeIn(root, node, ambient, loader);
  if (withLoader.ok && !withLoader.adapter.isFallbackAdapter) return { env: loader, probe: withLoader };
  const software = await probeIn(root, node, ambient, lavapipe);
  if (software.ok) return { env: lavapipe, probe: software };
  throw new SetupError(
    `lavapipe is in .cache/vulkan but does not work: ${software.error}`,
    installHelp(currentSystem()),
  );
}

/**
 * Probes for an adapter in a child process.
 *
 * @param {string} root the checkout (`webgpu` resolves from there)
 * @param {string} node the Node to run
 * @param {NodeJS.ProcessEnv} ambient
 * @param {Record<string, string>} [added]
 * @returns {Promise<import('./probe.mjs').Probe>} never rejects
 */
async function probeIn(root, node, ambient, added = {}) {
  const env = { ...ambient, ...prependPath(ambient, added) };
  const { stdout, stderr, code, signal } = await collect(node, [PROBE, root], { env });
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1));
  } catch {
    const last = stderr.trim().split('\n').at(-1);
    return {
      ok: false,
      error: `the probe ended with ${signal ?? `exit code ${code}`}${last ? `: ${last}` : ''}`,
    };
  }
}

/** @param {import('./probe.mjs').Probe} probe a working one; says on stderr what was found */
export function sayAdapter({ adapter, features }) {
  const extras = ['shader-f16', 'subgroups', 'timestamp-query'].filter((name) => features.includes(name));
  say(`adapter: ${adapter.description || adapter.device} (${extras.join(', ') || 'no extra features'})`);
}
