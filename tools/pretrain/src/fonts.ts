/**
 * Free fonts without root: Debian packages fetched by apt into `.cache/fonts` and unpacked there by dpkg-deb. What Debian cannot
 * give us on this machine is looked for under /usr/share/fonts. Names and licences: ../README.md.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const cache: string = fileURLToPath(new URL('../../../.cache/', import.meta.url));

/**
 * Every package is in Debian main, hence free; those under the GPL without its exception for fonts are left out, and so are fonts
 * without Latin letters or digits.
 */
export const packages: readonly string[] = [
  // Somebody's hand, or drawn like it.
  'fonts-breip',
  'fonts-bwht',
  'fonts-comic-neue',
  'fonts-dkg-handwriting',
  'fonts-ecolier-court',
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
  'fonts-quicksand',
  'fonts-roboto-unhinted',
  'fonts-sil-andika-compact',
];

/** Faces by a person's pen: they are drawn from more often than print. */
const HANDWRITTEN: RegExp =
  /^(Breip|BecauseWe|ComicNeue|dkg|Ecolier|Humor|kiloji|Kristi|Rufscript|setofont|SteveHand|Delphine|Purisa|TomsonTalks|futural|rowmans|scripts|cursive)/;
/** No Latin letters, the same face twice, zeros with a dot, and weights that thin to the same line as the regular one. */
const UNUSABLE: RegExp =
  /^(DejaVuMath|FreeMono|FreeSerif|setofont-ex|breipfont)|Mono|Condensed|Narrow|(Black|Heavy|Hairline|Light|Medium|Semibold|SemiBold|Thin|Ultra)(Italic)?\./;
const HERSHEY = /^(futural|rowmans|scripts|cursive)\.jhf$/;

export interface FontFile {
  readonly path: string;
  readonly handwritten: boolean;
}

/** All font files, sorted by name; fetches what is missing. Throws, with the command to run, when there are none. */
export function fontFiles(): FontFile[] {
  const fetched = fetchPackages().flatMap(inside);
  // The machine's own fonts only where nothing could be fetched: they would make the images depend on the machine.
  const paths = fetched.length ? fetched : inside('/usr/share/fonts');
  const byName = new Map<string, FontFile>();
  for (const path of paths) {
    const name = basename(path);
    if (UNUSABLE.test(name) || (name.endsWith('.jhf') && !HERSHEY.test(name)) || byName.has(name)) continue;
    byName.set(name, { path, handwritten: HANDWRITTEN.test(name) });
  }
  if (byName.size === 0) {
    throw new Error(
      `No fonts found, and apt could not fetch any. Try: sudo apt-get install ${packages.join(' ')}`,
    );
  }
  return [...byName.keys()].sort().map((name) => byName.get(name)!);
}

function inside(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return globSync('**/*.{ttf,otf,jhf}', { cwd: folder }).map((path) => join(folder, path));
}

/** The folders of the packages that are here. */
function fetchPackages(): string[] {
  const unpacked = join(cache, 'fonts', 'unpacked');
  mkdirSync(unpacked, { recursive: true });
  return packages.flatMap((name) => {
    const folder = join(unpacked, name);
    if (existsSync(folder)) return [folder];
    // Made aside and renamed: a folder with the package's name is always whole, even if two of us fetch at once.
    const aside = mkdtempSync(join(cache, 'fonts', 'fetch-'));
    try {
      // One at a time: a package this release of Debian lacks must not cost us the others.
      execFileSync('apt-get', ['download', '-q', name], { cwd: aside, stdio: ['ignore', 'ignore', 'pipe'] });
      const deb = readdirSync(aside).find((file) => file.endsWith('.deb'));
      if (!deb) throw new Error('apt-get left no file');
      execFileSync('dpkg-deb', ['-x', join(aside, deb), join(aside, 'root')]);
      if (!existsSync(folder)) renameSync(join(aside, 'root'), folder);
      return [folder];
    } catch (error) {
      const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
      process.stderr.write(`pretrain: going on without ${name} (${why}); apt-get update may help\n`);
      return [];
    } finally {
      rmSync(aside, { recursive: true, force: true });
    }
  });
}
