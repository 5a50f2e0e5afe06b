/**
 * Gets lavapipe, Mesa's software Vulkan driver, from the distribution's own archive into `.cache/vulkan`.
 *
 *     .cache/vulkan/apt/, root/   see unpack.mjs
 *     .cache/vulkan/loader/       libvulkan.so.1 alone, for a machine with a GPU driver and no Vulkan loader
 *     .cache/vulkan/lvp_icd.json  tells the loader where the driver is
 */
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { listFolder, readJson, writeWhole } from './files.mjs';
import { currentSystem, installHelp } from './platform.mjs';
import { SetupError, say } from './report.mjs';
import { unpackPackages } from './unpack.mjs';

/** With every dependency this system lacks: 105 MB unpacked, 240 MB if LLVM is among them. */
const PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];

/**
 * @param {string} root the checkout
 * @returns {Promise<{loader: Record<string, string>, lavapipe: Record<string, string>}>} two environments:
 *   the Vulkan loader with this machine's own drivers, and the loader with lavapipe
 * @throws {SetupError} when this system has no apt, or apt fails
 */
export async function prepareLavapipe(root) {
  const folder = join(root, '.cache', 'vulkan');
  if (!existsSync(join(folder, 'root'))) await download(folder);
  return describe(folder);
}

async function download(folder) {
  const system = currentSystem();
  const help = installHelp(system);
  if (!system.apt) throw new SetupError('no WebGPU adapter was found on this machine', help);
  say(
    `no WebGPU adapter here: getting Mesa's software Vulkan driver (lavapipe) from ${system.name}'s archive`,
  );
  say(`into ${folder}: about 25 to 55 MB to download, nothing is installed on the system`);
  const isComplete = (unpacked) => findDriver(unpacked) !== undefined;
  await unpackPackages(folder, {
    what: 'lavapipe',
    packages: PACKAGES,
    system,
    fromBackports: true,
    isComplete,
    help,
  });
}

/** Written anew each time, because it names absolute paths and a checkout may have been moved. */
function describe(folder) {
  const unpacked = join(folder, 'root');
  const { description, library, libraries } = findDriver(unpacked);
  const icd = join(folder, 'lvp_icd.json');
  description.ICD.library_path = library;
  writeWhole(icd, `${JSON.stringify(description, null, 2)}\n`);

  const loader = join(folder, 'loader');
  rmSync(loader, { recursive: true, force: true });
  mkdirSync(loader);
  symlinkSync(join(libraries, 'libvulkan.so.1'), join(loader, 'libvulkan.so.1'));

  return {
    loader: { LD_LIBRARY_PATH: loader },
    lavapipe: {
      LD_LIBRARY_PATH: [libraries, ...privateLibraries(libraries)].join(delimiter),
      // The second is the name that loaders before 1.3.207 know.
      VK_DRIVER_FILES: icd,
      VK_ICD_FILENAMES: icd,
      // Compiled kernels stay with the checkout: a home folder may be missing or read-only.
      MESA_SHADER_CACHE_DIR: join(folder, 'shaders'),
    },
  };
}

/** The loader's description of the driver, and the library that belongs to it. */
function findDriver(unpacked) {
  const folder = join(unpacked, 'usr', 'share', 'vulkan', 'icd.d');
  const name = listFolder(folder).find((file) => /^lvp_icd.*\.json$/.test(file));
  const triplet = listFolder(join(unpacked, 'usr', 'lib')).find((part) => /^\w+-linux-gnu/.test(part));
  if (!name || !triplet) return undefined;
  const libraries = join(unpacked, 'usr', 'lib', triplet);
  const library = join(libraries, 'libvulkan_lvp.so');
  const description = readJson(join(folder, name));
  return existsSync(library) && description ? { description, library, libraries } : undefined;
}

/** Folders below the library folder that hold LLVM itself, in distributions that keep it apart. */
function privateLibraries(libraries) {
  const folders = listFolder(join(libraries, '..')).filter((name) => /^llvm-\d+/.test(name));
  return folders.map((name) => join(libraries, '..', name, 'lib')).filter((path) => existsSync(path));
}
