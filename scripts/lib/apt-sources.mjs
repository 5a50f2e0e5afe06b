/**
 * Which package sources to read for the private apt: this machine's own, so that its mirror, its keys and its
 * credentials stay in force, with the backports of the same mirror added where Debian's Mesa is too old.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listFolder } from './files.mjs';

/** @typedef {Record<string, string>} Stanza a deb822 source: field name (lower case) to value, lines kept */

/** Used only on a Debian whose own release is not among its sources. */
const DEBIAN_DEFAULT = {
  uris: 'http://deb.debian.org/debian',
  components: 'main',
  'signed-by': '/usr/share/keyrings/debian-archive-keyring.gpg',
};

/** Names that may stand for the release instead of its code name. */
const ALIASES = ['stable', 'oldstable', 'oldoldstable', 'testing', 'unstable', 'sid'];

/**
 * @param {{id: string, codename: string, backports: boolean}} system `backports`: add that suite
 * @param {string} [folder] apt's configuration
 * @returns {Stanza[]} binary sources of the distribution itself; third parties are left out
 */
export function distributionSources({ id, codename, backports }, folder = '/etc/apt') {
  const own = readSources(folder).flatMap((stanza) => {
    const suites = words(stanza.suites).filter((suite) => isRelease(suite, codename));
    const online = words(stanza.uris).filter((uri) => !uri.startsWith('cdrom:'));
    const usable =
      words(stanza.types).includes('deb') && stanza.enabled !== 'no' && suites.length && online.length;
    return usable ? [{ ...stanza, types: 'deb', uris: online.join(' '), suites: suites.join(' ') }] : [];
  });
  const isMain = ({ suites }) => words(suites).some((suite) => [codename, ...ALIASES].includes(suite));
  if (!own.some(isMain) && id === 'debian') own.push({ types: 'deb', ...DEBIAN_DEFAULT, suites: codename });
  const suite = `${codename}-backports`;
  const configured = own.some(({ suites }) => words(suites).includes(suite));
  if (backports && !configured) own.push({ ...own.find(isMain), suites: suite, components: 'main' });
  return own;
}

/**
 * @param {Stanza[]} stanzas
 * @returns {string} a `.sources` file; only package lists are wanted, no translations or icons
 */
export function formatSources(stanzas) {
  const format = ([field, value]) => `${field}:${value.startsWith('\n') ? '' : ' '}${value}`;
  return stanzas
    .map(
      (stanza) =>
        `${Object.entries({ ...stanza, targets: 'Packages' })
          .map(format)
          .join('\n')}\n`,
    )
    .join('\n');
}

/** @returns {Stanza[]} everything configured, in both of apt's formats */
function readSources(folder) {
  const parts = listFolder(join(folder, 'sources.list.d')).map((name) =>
    join(folder, 'sources.list.d', name),
  );
  return [join(folder, 'sources.list'), ...parts].flatMap((path) => {
    if (path.endsWith('.list')) return parseOneLine(read(path));
    return path.endsWith('.sources') ? parseDeb822(read(path)) : [];
  });
}

/** `deb [arch=amd64 signed-by=/key] http://mirror/debian bookworm main`, a source a line. */
function parseOneLine(text) {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) return [];
    const [, types, options = '', uris, suites, components] = match;
    const fields = words(options).map((option) => {
      const at = option.indexOf('=');
      const name = { arch: 'architectures', lang: 'languages', target: 'targets' }[option.slice(0, at)];
      return [name ?? option.slice(0, at), option.slice(at + 1).replaceAll(',', ' ')];
    });
    return [{ types, uris, suites, components: components.trim(), ...Object.fromEntries(fields) }];
  });
}

/** Paragraphs of `Field: value`; a value goes on in lines that start with a space (an inline key does). */
function parseDeb822(text) {
  const withoutComments = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
  return withoutComments.split(/\n\s*\n/).flatMap((paragraph) => {
    const fields = [...paragraph.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)];
    return fields.length
      ? [Object.fromEntries(fields.map(([, name, value]) => [name.toLowerCase(), value.trimEnd()]))]
      : [];
  });
}

const isRelease = (suite, codename) => [codename, ...ALIASES].includes(suite.replace(/[-/].*$/, ''));
const words = (text = '') => text.split(/\s+/).filter(Boolean);

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
