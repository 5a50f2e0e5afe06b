import type { ImageDecoder } from '@s3t/data';
import type { Input } from '@s3t/unlearner';
import { Problem } from './problem.ts';

/** Pixels that the files of one request may have together: a small file can say that it is huge. */
const MAX_PIXELS = 2 ** 24;

/** How the formats that are decoded begin, in hex. Nothing else reaches the decoder: it knows formats that load other files. */
const MAGIC = /^(89504e470d0a1a0a|ffd8ff|47494638(37|39)61|52494646.{8}57454250)/;

/** Decodes PNG, JPEG, GIF (first frame) and WebP files. Throws a 400 that names the file by `pathOf` its place. */
export async function decodeFiles(
  files: readonly Uint8Array[],
  decoder: ImageDecoder,
  pathOf: (index: number) => string,
): Promise<Input[]> {
  const inputs: Input[] = [];
  let pixels = MAX_PIXELS;
  // One after the other: the budget is theirs together.
  for (const [index, file] of files.entries()) {
    const start = Array.from(file.subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (!MAGIC.test(start)) throw refusal(pathOf(index));
    try {
      const image = await decoder.decode(file, { file: pathOf(index) }, pixels);
      pixels -= image.width * image.height;
      inputs.push({ image });
    } catch {
      throw refusal(pathOf(index));
    }
  }
  return inputs;
}

function refusal(path: string): Problem {
  const message = `expected a PNG, JPEG, GIF or WebP file, and at most ${MAX_PIXELS} pixels in all files`;
  return new Problem(400, 'invalid', message, { path });
}
