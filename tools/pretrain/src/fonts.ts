/**
 * Free fonts without root: Debian packages fetched by apt into `.cache/fonts` and unpacked there by dpkg-deb. What Debian cannot
 * give us on this machine is looked for under /usr/share/fonts. Names and licences: ../README.md.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const cache: string = fileURLToPath(new URL('../../../.cache/', import.meta.url));

/** Every package is in Debian main, hence free; only fonts with Latin letters and digits are listed. */
export const packages: readonly string[] = [
  // Somebody's hand, or drawn like it.
  'fonts-breip',
  'fonts-bwht',
  'fonts-comic-neue',
  'fonts-dkg-handwriting',
  'fonts-dustin',
  'fonts-ecolier-court',
  'fonts-f500',
  'fonts-femkeklaver',
  'fonts-humor-sans',
  'fonts-kiloji',
  'fonts-kristi',
  'fonts-rufscript',
  'fonts-seto',
  'fonts-sjfonts',
  'fonts-tlwg-purisa-ttf',
  'fonts-tomsontalks',
  // Single strokes, drawn by Hershey for plotters.
  'hershey-fonts-data',
  // Print, for the letters' many shapes.
  'fonts-cabin',
  'fonts-comfortaa',
  'fonts-dancingscript',
  'fonts-dejavu-core',
  'fonts-freefont-ttf',
  'fonts-jura',
  'fonts-kaushanscript',
  'fonts-lato',
  'fonts-liberation',
  'fonts-opendyslexic',
  'fonts-quicksand',
  'fonts-roboto-unhinted',
  'fonts-sil-andika-compact',
];

/** Faces by a person's pen: they are drawn from more often than print. */
const HANDWRITTEN: RegExp =
  /^(Breip|breipfont|BecauseWe|ComicNeue|dkg|Domestic_Manners|El_Abogado|It_wasn|MarkedFool|Wargames|Winks|Ecolier|f500|femkeklaver|Humor|kiloji|Kristi|Rufscript|setofont\.|SteveHand|Delphine|Purisa|TomsonTalks|scripts\.|cursive\.|futural\.|rowmans\.|greeks\.)/;
/** Display faces whose medial axis is no letter any more, faces without Latin letters, and the heaviest weights. */
const UNUSABLE =
  /^(Junkyard|progenisis|Balker|PenguinAttack|Swift|flatline|setofont-ex|Lato-(Hairline|Black|Heavy)|Roboto-Black|FreeSerif|FreeMono)|(Black|Heavy|Hairline|Ultra)(Italic)?\./i;
const HERSHEY = /^(futural|rowmans|scripts|cursive)\.jhf$/;

export interface FontFile {
  readonly path: string;
  readonly handwritten: boolean;
}

/** All font files, sorted by name; fetches what is missing. Throws, with the command to run, when there are none. */
export function fontFiles(): FontFile[] {
  const root = join(cache, 'fonts', 'root');
  fetchPackages(root);
  const paths = [root, '/usr/share/fonts'].flatMap((folder) =>
    existsSync(folder) ? globSync('**/*.{ttf,otf,jhf}', { cwd: folder }).map((path) => join(folder, path)) : [],
  );
  const byName = new Map<string, FontFile>();
  for (const path of paths) {
    const name = basename(path);
    if (UNUSABLE.test(name) || (name.endsWith('.jhf') && !HERSHEY.test(name)) || byName.has(name)) continue;
    byName.set(name, { path, handwritten: HANDWRITTEN.test(name) });
  }
  if (byName.size === 0) {
    throw new Error(`No fonts found, and apt could not fetch any. Try: sudo apt-get install ${packages.join(' ')}`);
  }
  return [...byName.keys()].sort().map((name) => byName.get(name)!);
}

function fetchPackages(root: string): void {
  const downloads = join(cache, 'fonts', 'debs');
  mkdirSync(downloads, { recursive: true });
  const unpacked = join(cache, 'fonts', 'unpacked');
  mkdirSync(unpacked, { recursive: true });
  const missing = packages.filter((name) => !existsSync(join(unpacked, name)));
  if (missing.length === 0) return;
  for (const name of missing) {
    // One at a time: a package this release of Debian lacks must not cost us the others.
    try {
      execFileSync('apt-get', ['download', '-q', name], { cwd: downloads, stdio: ['ignore', 'ignore', 'pipe'] });
    } catch {
      process.stderr.write(`pretrain: apt-get download ${name} failed; going on without it (apt-get update may help)\n`);
      continue;
    }
    const deb = readdirSync(downloads).find((file) => file.startsWith(`${name}_`));
    if (!deb) continue;
    const marker = join(unpacked, name);
    const half = `${marker}.half`;
    rmSync(half, { recursive: true, force: true });
    execFileSync('dpkg-deb', ['-x', join(downloads, deb), root]);
    mkdirSync(half);
    renameSync(half, marker);
  }
}
