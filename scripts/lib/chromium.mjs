/**
 * Finds a Chromium to run tests in: one of this machine, else Debian's own, unpacked into `.cache/chromium`.
 *
 *     .cache/chromium/apt/, root/   see unpack.mjs
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { listFolder } from './files.mjs';
import { withLock } from './lock.mjs';
import { currentSystem } from './platform.mjs';
import { say } from './report.mjs';
import { unpackPackages } from './unpack.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Where the distributions' own wrappers would start it from: playwright must be the parent of the real thing. */
const BINARY = join('usr', 'lib', 'chromium', 'chromium');

/**
 * @param {string} root the checkout
 * @returns {Promise<{path: string, env: Record<string, string>} | {help: string}>} the executable and what to add to its
 *   environment; or, where there is none and none can be had, what to install
 * @throws {import('./report.mjs').SetupError} when getting Debian's fails
 */
export async function findChromium(root) {
  const own = process.env.S3T_CHROMIUM ?? onPath(NAMES);
  if (own) return { path: own, env: {} };
  const system = currentSystem();
  // Ubuntu's package is an empty one that asks for a snap.
  const hasPackage = system.apt && system.id === 'debian';
  if (!hasPackage) return { help: 'install Chromium or Chrome, or name one by S3T_CHROMIUM' };
  const folder = resolve(root, '.cache', 'chromium');
  const isReady = () => existsSync(join(folder, 'root'));
  if (!isReady()) await withLock(`${folder}.lock`, async () => isReady() || (await download(folder, system)));
  const unpacked = join(folder, 'root');
  return {
    path: join(unpacked, BINARY),
    env: {
      LD_LIBRARY_PATH: [...librariesIn(unpacked), process.env.LD_LIBRARY_PATH ?? []].flat().join(delimiter),
    },
  };
}

async function download(folder, system) {
  say(
    `no Chromium here: getting Debian's, with the libraries that this system lacks, from ${system.name}'s archive`,
  );
  say(`into ${folder}: about 125 MB to download, nothing is installed on the system`);
  await unpackPackages(folder, {
    what: 'Chromium',
    packages: ['chromium'],
    system,
    isComplete: (unpacked) => existsSync(join(unpacked, BINARY)),
    help: ['To install it as root:', '  apt-get update && apt-get install -y chromium'],
  });
}

/** The library folders of unpacked packages, those that only some packages use included. */
function librariesIn(unpacked) {
  return ['lib', join('usr', 'lib')].flatMap((part) => {
    const triplet = listFolder(join(unpacked, part)).find((name) => /^\w+-linux-gnu/.test(name));
    if (!triplet) return [];
    const libraries = join(unpacked, part, triplet);
    return [
      libraries,
      ...['pulseaudio', 'blas', 'lapack'].map((name) => join(libraries, name)).filter(existsSync),
    ];
  });
}

function onPath(names) {
  for (const name of names)
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // the next place
      }
    }
  return undefined;
}
