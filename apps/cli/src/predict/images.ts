import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadRecords } from '@s3t/data';
import { UsageError } from '../errors.ts';
import type { NamedInput } from './input-files.ts';

/** An image file to decode. */
export interface ImageFile {
  id: string;
  /** Absolute. */
  path: string;
  /** What an error calls it. */
  place: string;
}

/** Decodes image files as data sets do, which know tables of paths: so they are listed in one. @throws UsageError, DataError */
export async function decodeImages(files: readonly ImageFile[]): Promise<NamedInput[]> {
  for (const { path, place } of files) {
    if (!existsSync(path))
      throw new UsageError(`${place}: there is no such file${place.endsWith(path) ? '' : ` ${path}`}`);
  }
  if (files.length === 0) return [];
  const folder = mkdtempSync(join(tmpdir(), 's3t-predict-'));
  try {
    const list = join(folder, 'images.jsonl');
    writeFileSync(list, files.map(({ path }) => `${JSON.stringify({ path })}\n`).join(''));
    const records = await loadRecords(list, 'eval', { image: 'path' }, folder);
    const inputs: NamedInput[] = [];
    for (const [index, { id }] of files.entries()) {
      inputs.push({ id, input: { image: await records[index]!.image!() } });
    }
    return inputs;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
