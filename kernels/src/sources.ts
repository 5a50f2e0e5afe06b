import { readdirSync, readFileSync } from 'node:fs';

/**
 * Every kernel of this package: its name (`group/kernel`, the path without `.wgsl`) to its WGSL text.
 * In a checkout the files are read as they are; `npm run build` replaces this module by one that holds the texts.
 */
export const sources: Readonly<Record<string, string>> = readSources(new URL('../', import.meta.url));

function readSources(root: URL): Record<string, string> {
  const found: Record<string, string> = {};
  for (const group of readdirSync(root, { withFileTypes: true })) {
    if (!group.isDirectory() || ['src', 'scripts', 'dist', 'node_modules'].includes(group.name)) continue;
    for (const file of readdirSync(new URL(`${group.name}/`, root)).sort()) {
      if (!file.endsWith('.wgsl')) continue;
      const text = readFileSync(new URL(`${group.name}/${file}`, root), 'utf8');
      found[`${group.name}/${file.slice(0, -'.wgsl'.length)}`] = text;
    }
  }
  return found;
}
