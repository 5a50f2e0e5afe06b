/**
 * Gets packages of the distribution's own archive, with every dependency that this system lacks, into a folder, without
 * root and without changing the system: a private apt state downloads, `dpkg-deb -x` unpacks.
 *
 *     FOLDER/apt/    sources, configuration, log; lists and archives while it works
 *     FOLDER/root/   the unpacked packages; there only when complete
 */
import { appendFileSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { distributionSources, formatSources } from './apt-sources.mjs';
import { collect } from './child.mjs';
import { listFolder, writeWhole } from './files.mjs';
import { SetupError, say } from './report.mjs';

/** Lines of apt's output that a person waiting wants to see. */
const PROGRESS = /^(Get:|Err:|E: |W: |Need to get )/;

/**
 * @typedef {object} Wanted
 * @property {string} what the packages together, for messages
 * @property {string[]} packages their names
 * @property {import('./platform.mjs').System} system one with apt
 * @property {boolean} [fromBackports] take them from backports where the system's own are too old for us
 * @property {(unpacked: string) => boolean} isComplete whether what was looked for is among the unpacked files
 * @property {string[]} help what to type when it does not work
 */

/**
 * @param {string} folder
 * @param {Wanted} wanted
 * @throws {SetupError} when apt or unpacking fails
 */
export async function unpackPackages(
  folder,
  { what, packages, system, fromBackports = false, isComplete, help },
) {
  const fail = (message, hints = help) => new SetupError(message, hints);
  const apt = preparePrivateApt(folder, system, fail);
  const run = (args) => runApt(apt, args, what, fail, help);
  await run(['update']);
  say('downloading the packages ...');
  const target = fromBackports && system.backports ? ['-t', `${system.codename}-backports`] : [];
  // --reinstall: also what the system has. Held packages stay as they are on the system, whatever is unpacked
  // here.
  const options = [
    '--download-only',
    '--reinstall',
    '--yes',
    '--no-install-recommends',
    '--allow-change-held-packages',
  ];
  await run(['install', ...options, ...target, ...packages]);
  await unpack(apt.archives, folder, fail, isComplete, what);
  for (const part of [apt.lists, apt.cache]) rmSync(part, { recursive: true, force: true });
}

/** Writes apt's private configuration. Proxy, credentials, keys and certificates stay the system's. */
function preparePrivateApt(folder, system, fail) {
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
    throw fail(`no apt source of ${system.name} (${system.codename}) is configured`);
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

async function runApt(apt, args, what, fail, help) {
  const onLine = (line) => PROGRESS.test(line) && process.stderr.write(`        ${line}\n`);
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const result = await collect('apt-get', ['-c', apt.conf, '-q', ...args], { env, onLine });
  appendFileSync(apt.log, `apt-get ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  // An update that reached nothing is no error to apt: what was wrong shows in the next step.
  apt.problems.push(...result.stderr.split('\n').filter((line) => /^[WE]: /.test(line)));
  if (result.ok) return;
  const why = apt.problems[0]?.slice(3) ?? `exit code ${result.code}`;
  throw fail(`apt-get could not get ${what}: ${why}`, [`Its output: ${apt.log}`, ...help]);
}

/** Unpacks beside the final place and renames, so that `root` is complete whenever it is there. */
async function unpack(archives, folder, fail, isComplete, what) {
  for (const name of listFolder(folder)) {
    if (name.startsWith('root.')) rmSync(join(folder, name), { recursive: true, force: true });
  }
  const packages = listFolder(archives).filter((name) => name.endsWith('.deb'));
  say(`unpacking ${packages.length} packages ...`);
  const temporary = join(folder, `root.${process.pid}`);
  for (const name of packages) {
    const { ok, stderr } = await collect('dpkg-deb', ['-x', join(archives, name), temporary]);
    if (!ok) throw fail(`${name} could not be unpacked: ${stderr.trim()}`);
  }
  if (!isComplete(temporary)) throw fail(`the packages held no ${what}`);
  renameSync(temporary, join(folder, 'root'));
}
