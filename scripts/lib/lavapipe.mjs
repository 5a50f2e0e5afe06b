/**
 * Gets lavapipe, Mesa's software Vulkan driver, from the distribution's own archive into `.cache/vulkan`,
 * without root and without changing the system: a private apt state downloads, `dpkg-deb -x` unpacks.
 *
 *     .cache/vulkan/apt/          sources, configuration, log; lists and archives while it works
 *     .cache/vulkan/root/         the unpacked packages; there only when complete
 *     .cache/vulkan/loader/       libvulkan.so.1 alone, for a machine with a GPU driver and no Vulkan loader
 *     .cache/vulkan/lvp_icd.json  tells the loader where the driver is
 */
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { distributionSources, formatSources } from './apt-sources.mjs';
import { collect } from './child.mjs';
import { listFolder, readJson, writeWhole } from './files.mjs';
import { currentSystem, installHelp } from './platform.mjs';
import { SetupError, say } from './report.mjs';

/** With every dependency this system lacks: 105 MB unpacked, 240 MB if LLVM is among them. */
const PACKAGES = ['mesa-vulkan-drivers', 'libvulkan1'];

/** Lines of apt's output that a person waiting wants to see. */
const PROGRESS = /^(Get:|Err:|E: |W: |Need to get )/;

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
  if (!system.apt) throw new SetupError('no WebGPU adapter was found on this machine', installHelp(system));
  say(
    `no WebGPU adapter here: getting Mesa's software Vulkan driver (lavapipe) from ${system.name}'s archive`,
  );
  say(`into ${folder}: about 25 to 55 MB to download, nothing is installed on the system`);
  const apt = preparePrivateApt(folder, system);
  await runApt(apt, ['update'], system);
  say('downloading the packages ...');
  const target = system.backports ? ['-t', `${system.codename}-backports`] : [];
  // --reinstall: also what the system has. Held packages stay as they are on the system, whatever is unpacked
  // here.
  const options = [
    '--download-only',
    '--reinstall',
    '--yes',
    '--no-install-recommends',
    '--allow-change-held-packages',
  ];
  await runApt(apt, ['install', ...options, ...target, ...PACKAGES], system);
  await unpack(apt.archives, folder, system);
  for (const part of [apt.lists, apt.cache]) rmSync(part, { recursive: true, force: true });
}

/** Writes apt's private configuration. Proxy, credentials, keys and certificates stay the system's. */
function preparePrivateApt(folder, system) {
  const home = join(folder, 'apt');
  const apt = {
    conf: join(home, 'apt.conf'),
    lists: join(home, 'lists'),
    cache: join(home, 'cache'),
    log: join(home, 'log'),
  };
  apt.archives = join(apt.cache, 'archives');
  apt.problems = [];
  rmSync(apt.log, { force: true });
  const sources = join(home, 'sources');
  for (const path of [join(apt.lists, 'partial'), join(apt.archives, 'partial'), sources])
    mkdirSync(path, { recursive: true });
  const stanzas = distributionSources(system);
  if (stanzas.length === 0) {
    throw new SetupError(
      `no apt source of ${system.name} (${system.codename}) is configured`,
      installHelp(system),
    );
  }
  // Readable by us alone: an address may hold a password.
  writeWhole(join(sources, 's3t.sources'), formatSources(stanzas), { mode: 0o600 });
  const settings = {
    'Dir::State::Lists': apt.lists,
    'Dir::Cache': apt.cache,
    'Dir::Cache::archives': apt.archives,
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': sources,
    'Acquire::Retries': '3',
    'Acquire::Languages': 'none',
    // As root apt downloads as the user _apt, who may not enter the checkout.
    'APT::Sandbox::User': 'root',
    // Nothing of the system is written, so dpkg's own lock (root only) is not needed; set-up has its own.
    'Debug::NoLocking': 'true',
  };
  // Hooks of the system (clean-up, notifications) are for the system's own package lists.
  const hooks = [
    'APT::Update::Pre-Invoke',
    'APT::Update::Post-Invoke',
    'APT::Update::Post-Invoke-Success',
    'DPkg::Post-Invoke',
  ];
  const lines = [
    ...hooks.map((name) => `#clear ${name};`),
    ...Object.entries(settings).map(([key, value]) => `${key} "${value}";`),
  ];
  writeWhole(apt.conf, `${lines.join('\n')}\n`);
  return apt;
}

async function runApt(apt, args, system) {
  const onLine = (line) => PROGRESS.test(line) && process.stderr.write(`        ${line}\n`);
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const result = await collect('apt-get', ['-c', apt.conf, '-q', ...args], { env, onLine });
  appendFileSync(apt.log, `apt-get ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  // An update that reached nothing is no error to apt: what was wrong shows in the next step.
  apt.problems.push(...result.stderr.split('\n').filter((line) => /^[WE]: /.test(line)));
  if (result.ok) return;
  const why = apt.problems[0]?.slice(3) ?? `exit code ${result.code}`;
  throw new SetupError(`apt-get could not get lavapipe: ${why}`, [
    `Its output: ${apt.log}`,
    ...installHelp(system),
  ]);
}

/** Unpacks beside the final place and renames, so that `root` is complete whenever it is there. */
async function unpack(archives, folder, system) {
  for (const name of listFolder(folder)) {
    if (name.startsWith('root.')) rmSync(join(folder, name), { recursive: true, force: true });
  }
  const packages = listFolder(archives).filter((name) => name.endsWith('.deb'));
  say(`unpacking ${packages.length} packages ...`);
  const temporary = join(folder, `root.${process.pid}`);
  for (const name of packages) {
    const { ok, stderr } = await collect('dpkg-deb', ['-x', join(archives, name), temporary]);
    if (!ok) throw new SetupError(`${name} could not be unpacked: ${stderr.trim()}`, installHelp(system));
  }
  if (!findDriver(temporary))
    throw new SetupError('the packages held no lavapipe driver', installHelp(system));
  renameSync(temporary, join(folder, 'root'));
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
