// Builds the page into dist/page: beside it first, then in its place, so that who reads it meanwhile never sees half of one.
import { renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('../', import.meta.url));
const place = `${root}dist/page`;
const fresh = `${place}-${process.pid}`;
process.env.S3T_PAGE_OUT = fresh;
await build({ configFile: `${root}vite.config.ts` });
for (;;) {
  rmSync(place, { recursive: true, force: true });
  try {
    renameSync(fresh, place);
    break;
  } catch (error) {
    // Another process put its own there in between: the same files.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  }
}
