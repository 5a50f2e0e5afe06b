// Replaces dist/sources.js, which reads the .wgsl files, by a module that holds their texts: what is published runs
// in browsers too, where there are no files.
import { readFileSync, writeFileSync } from 'node:fs';

const { sources } = await import('../src/sources.ts');
const entries = Object.entries(sources).map(
  ([name, text]) => `  ${JSON.stringify(name)}: ${JSON.stringify(text)},`,
);
const module = `export const sources = {\n${entries.join('\n')}\n};\n`;
const target = new URL('../dist/sources.js', import.meta.url);
// Left alone when it is right: another task may be reading it.
if (readFileSync(target, 'utf8') !== module) writeFileSync(target, module);
