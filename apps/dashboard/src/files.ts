import { readdirSync, readFileSync } from 'node:fs';

/** Something the server answers a GET with. */
export interface PageFile {
  /** Its content type. */
  type: string;
  body: string;
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/**
 * The dashboard: URL path to file. `/` and `/docs` are pages; what they load is below `/assets/`.
 * In a checkout the files are read as they are; `npm run build` replaces this module by one that holds their texts.
 */
export const files: Readonly<Record<string, PageFile>> = readFiles(new URL('../page/', import.meta.url));

function readFiles(folder: URL): Record<string, PageFile> {
  const found: Record<string, PageFile> = {};
  for (const name of readdirSync(folder).sort()) {
    const type = types[name.slice(name.lastIndexOf('.') + 1)];
    if (type === undefined) continue;
    found[pathOf(name)] = { type, body: readFileSync(new URL(name, folder), 'utf8') };
  }
  return found;
}

function pathOf(name: string): string {
  if (name === 'index.html') return '/';
  if (name.endsWith('.html')) return `/${name.slice(0, -'.html'.length)}`;
  return `/assets/${name}`;
}
