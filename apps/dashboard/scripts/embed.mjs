// Replaces dist/files.js, which builds and reads the page's files, by a module that holds their texts: what is published needs no files.
import { writeFileSync } from 'node:fs';

await import('./build-page.mjs');
const { files } = await import('../src/files.ts');
writeFileSync(
  new URL('../dist/files.js', import.meta.url),
  `export const files = ${JSON.stringify(files, null, 2)};\n`,
);
