import { extname, join } from 'node:path';
import { recordDigest } from './digest.ts';
import { DataError } from './errors.ts';
import { listFolder, readBytes } from './files.ts';
import { fileImage, imageExtensions } from './image.ts';
import { checkLabel } from './labels.ts';
import { mapInOrder } from './parallel.ts';
import type { DataOptions, DataRecord } from './record.ts';

// Image formats that the decoder, as npm installs it, lacks or that we do not test. Skipping them would train on less than the owner thinks.
const refused = [
  ...['.avif', '.bmp', '.heic', '.heif', '.jp2', '.jxl', '.svg', '.tif', '.tiff'],
  ...['.apng', '.ico', '.jfif', '.jpe', '.pbm', '.pgm', '.pnm', '.ppm', '.tga'],
];

/**
 * Records of a folder whose sub-folders are the labels: `cats/1.png` is a record with the id `cats/1.png` and the label `cats`.
 *
 * Ids are paths relative to the folder with `/` between names, in Unicode NFC whatever the file system uses, and records are sorted by them
 * (UTF-16 code units). Hidden files and files that are no images are not records. What would be ambiguous is an error: images beside the
 * sub-folders, folders inside them.
 */
export async function imageFolderRecords(
  folder: string,
  folders: string[],
  options: DataOptions,
): Promise<DataRecord[]> {
  const found: { id: string; label: string; file: string }[] = [];
  for (const name of folders) {
    const inside = join(folder, name);
    const label = checkLabel(name.normalize('NFC'), options.labels, { file: inside });
    const { files, folders: deeper } = await listFolder(inside);
    if (deeper.length > 0) {
      throw new DataError('a folder inside a label folder; images lie right in <label>/', {
        file: join(inside, deeper[0] as string),
      });
    }
    for (const entry of files) {
      const file = join(inside, entry);
      if (isImage(file)) found.push({ id: `${label}/${entry.normalize('NFC')}`, label, file });
    }
  }
  if (found.length === 0) throw new DataError('holds no images', { file: folder });
  found.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  refuseDuplicates(found);
  return mapInOrder(found, async ({ id, label, file }) => {
    const record: DataRecord = { id, label, digest: recordDigest({ label, image: await readBytes(file) }) };
    record.image = fileImage(file, record, options);
    return record;
  });
}

/** By its extension. @throws DataError if it is an image in a format that cannot be read */
export function isImage(file: string): boolean {
  const extension = extname(file).toLowerCase();
  if (refused.includes(extension)) {
    const supported = imageExtensions.join(', ');
    throw new DataError(`${extension} images are not supported; convert to one of ${supported}`, { file });
  }
  return imageExtensions.includes(extension);
}

/** Two names that differ only in Unicode form are two files to Linux and one id to us. Sorted, they are neighbours. */
function refuseDuplicates(found: readonly { id: string; file: string }[]): void {
  found.forEach(({ id, file }, row) => {
    const before = found[row - 1];
    if (before?.id === id) throw new DataError(`has the same id as ${before.file}`, { file, row });
  });
}
