/** What this machine is, and what a person types on it to get a WebGPU adapter. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { listFolder } from './files.mjs';

/**
 * @typedef {object} System
 * @property {string} name for people, e.g. "Debian GNU/Linux 12 (bookworm)"
 * @property {string} id `ID` of os-release; the platform where there is none
 * @property {string[]} family `id` and what it is like
 * @property {string} codename of the release whose packages it uses
 * @property {boolean} apt whether packages can be downloaded and unpacked with apt-get and dpkg-deb
 * @property {boolean} backports whether its own Mesa is too old for Dawn and a newer one is in backports
 */

/** @returns {System} */
export function currentSystem() {
  const { platform } = process;
  const release = platform === 'linux' ? readRelease() : {};
  const id = release.ID ?? platform;
  return {
    name: release.PRETTY_NAME ?? { darwin: 'macOS', win32: 'Windows' }[platform] ?? platform,
    id,
    family: [id, ...(release.ID_LIKE ?? '').split(' ').filter(Boolean)],
    codename: release.UBUNTU_CODENAME ?? release.VERSION_CODENAME ?? 'sid',
    apt: platform === 'linux' && onPath('apt-get') && onPath('dpkg-deb'),
    backports: id === 'debian' && release.VERSION_CODENAME === 'bookworm',
  };
}

/**
 * @param {System} system
 * @returns {string[]} the exact commands that give this system a WebGPU adapter
 */
export function installHelp(system) {
  const afterwards =
    'Then run the same command again. (S3T_SETUP=skip leaves adapters alone and uses what is there.)';
  return [...commands(system), afterwards];
}

function commands({ id, family, backports }) {
  if (id === 'darwin' || id === 'win32') {
    return [
      `${id === 'darwin' ? 'macOS (Metal)' : 'Windows (D3D12)'} has a WebGPU adapter by itself:`,
      '  update the system and its graphics driver',
    ];
  }
  const fits = (name) => family.includes(name);
  if (backports) {
    return [
      'To install Mesa 25 (lavapipe) from backports as root:',
      '  echo "deb http://deb.debian.org/debian bookworm-backports main" \\',
      '    > /etc/apt/sources.list.d/backports.list',
      '  apt-get update && apt-get install -y -t bookworm-backports mesa-vulkan-drivers libvulkan1',
    ];
  }
  if (fits('debian') || fits('ubuntu')) {
    return [
      'To install Mesa (24 or newer) as root:',
      '  apt-get update && apt-get install -y mesa-vulkan-drivers libvulkan1',
    ];
  }
  if (fits('fedora') || fits('rhel'))
    return ['To install Mesa:', '  sudo dnf install mesa-vulkan-drivers vulkan-loader'];
  if (fits('arch')) return ['To install Mesa:', '  sudo pacman -S vulkan-swrast vulkan-icd-loader'];
  if (fits('suse') || fits('opensuse'))
    return ['To install Mesa:', '  sudo zypper install Mesa-vulkan-device-select libvulkan_lvp libvulkan1'];
  return ["Install the Vulkan loader and a driver: your GPU vendor's, or Mesa 24 or newer with lavapipe."];
}

/**
 * Changes when a Vulkan driver or a GPU comes or goes, so that set-up looks again. Cheap: folder listings.
 *
 * @returns {string}
 */
export function graphicsFingerprint() {
  if (process.platform !== 'linux') return process.platform;
  const drivers = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'].flatMap(
    listFolder,
  );
  const devices = [
    ...listFolder('/dev/dri'),
    ...listFolder('/dev').filter((name) => /^(nvidia|kfd|dxg)/.test(name)),
  ];
  return [...drivers, ...devices].join(' ');
}

function readRelease() {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      const lines = readFileSync(path, 'utf8').matchAll(/^(\w+)=(?:"(.*)"|'(.*)'|(.*))$/gm);
      return Object.fromEntries(
        [...lines].map(([, name, ...values]) => [name, values.find((value) => value !== undefined)]),
      );
    } catch {
      // the next place
    }
  }
  return {};
}

function onPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
