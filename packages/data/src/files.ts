import { type Dirent, promises as fs } from 'node:fs';
import { join } from 'node:path';
import { DataError, type DataPlace } from './errors.ts';

/** All bytes of a file. @throws DataError at `place` (the file itself if left out) if it cannot be read */
export async function readBytes(file: string, place: DataPlace = { file }): Promise<Uint8Array> {
  try {
    const { buffer, byteOffset, byteLength } = await fs.readFile(file);
    // Not the Buffer itself: its methods differ (slice), and what we hand out says Uint8Array.
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (error) {
    const what = place.file === file ? 'the file' : `the file ${file}`;
    throw new DataError(`${what} ${reason(error)}`, place);
  }
}

/** The files and folders right inside a folder, sorted by name, links followed, without what file managers and `.` names hide there. */
export async function listFolder(folder: string): Promise<{ files: string[]; folders: string[] }> {
  const entries = await attempt(folder, 'the folder', fs.readdir(folder, { withFileTypes: true }));
  const files: string[] = [];
  const folders: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.') || /^(thumbs\.db|desktop\.ini|__MACOSX)$/i.test(entry.name)) continue;
    ((await isFolder(folder, entry)) ? folders : files).push(entry.name);
  }
  return { files: files.sort(), folders: folders.sort() };
}

/** Is it a file or a folder? @throws DataError if it is neither, or is not there */
export async function kindOf(path: string): Promise<'file' | 'folder'> {
  const stat = await attempt(path, 'the data source', fs.stat(path));
  if (stat.isDirectory()) return 'folder';
  if (stat.isFile()) return 'file';
  throw new DataError('is neither a file nor a folder', { file: path });
}

async function isFolder(folder: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  const path = join(folder, entry.name);
  return (await attempt(path, 'the link', fs.stat(path))).isDirectory();
}

async function attempt<T>(file: string, what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new DataError(`${what} ${reason(error)}`, { file });
  }
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read (permissions)';
  if (code === 'EISDIR') return 'is a folder';
  if (code === 'ERR_FS_FILE_TOO_LARGE') return 'is larger than 2 GiB; split it';
  return `cannot be read (${code})`;
}
