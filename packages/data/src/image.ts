import { recordDigest } from './digest.ts';
import { DataError, type DataPlace } from './errors.ts';
import { readBytes } from './files.ts';
import type { DataRecord, DecodedImage } from './record.ts';

/**
 * How the bytes of image files become pixels. Where sharp's native code cannot run (a browser, an edge runtime), give another one, for
 * example of `createImageBitmap`.
 */
export interface ImageDecoder {
  /** Two decoders need not agree to the last bit (JPEG above all), so the name is part of what a run's stages are known by. */
  name: string;
  /**
   * @param place where the bytes come from, for the error
   * @param maxPixels refuses images that have more, before they are decoded
   */
  decode(bytes: Uint8Array, place: DataPlace, maxPixels?: number): Promise<DecodedImage>;
}

/** Extensions of image files that can be decoded. */
export const imageExtensions: readonly string[] = ['.gif', '.jpeg', '.jpg', '.png', '.webp'];

/** The `image` of a record whose image is a file: reads it again, refuses it if the record's digest no longer fits, decodes it. */
export function fileImage(
  file: string,
  record: DataRecord,
  { decoder = sharpDecoder, row }: { decoder?: ImageDecoder | undefined; row?: number | undefined } = {},
): () => Promise<DecodedImage> {
  const { label, text, risk, digest } = record;
  return async () => {
    const place = { file, row };
    const bytes = await readBytes(file, place);
    if (recordDigest({ label, text, risk, image: bytes }) !== digest) {
      throw new DataError('has changed since the data was loaded', place);
    }
    return decoder.decode(bytes, place);
  };
}

// By content, whatever a file is called. Of the others that sharp reads an SVG has other pixels where other fonts are installed.
const formats: ReadonlySet<string> = new Set(['png', 'jpeg', 'webp', 'gif']);

/** The default. */
export const sharpDecoder: ImageDecoder = { name: 'sharp', decode: decodeImage };

/**
 * Decodes PNG, JPEG, WebP or GIF (first frame).
 *
 * Greyscale files give 1 channel, all others 3 (sRGB; palettes and CMYK are converted). 16 bits become 8 as libvips does it, within one of
 * x / 257. Transparent pixels are laid over white, as a web page does. EXIF orientation is applied, as browsers and Hugging Face's image
 * loading do; embedded colour profiles of RGB and grey files are not, as Pillow does not. Broken or truncated files and other formats are errors, never
 * half an image.
 * @param maxPixels refuses images that have more, before they are decoded. Default: 16,383 x 16,383
 * @throws DataError at `place`
 */
export async function decodeImage(
  bytes: Uint8Array,
  place: DataPlace,
  maxPixels: number = 0x3fff ** 2,
): Promise<DecodedImage> {
  // Only here: data sets without image files need no native code.
  const { default: sharp } = await import('sharp');
  try {
    const input = sharp(bytes, { failOn: 'error', ignoreIcc: true, limitInputPixels: maxPixels });
    const { format, space } = await input.metadata();
    if (!formats.has(format)) throw new Error(`${format} is none of ${[...formats].join(', ')}`);
    const channels = space === 'b-w' || space === 'grey16' ? 1 : 3;
    // sRGB even for grey, which repeats it exactly: asked for grey, sharp drops the alpha channel unused.
    const { data, info } = await input
      .autoOrient()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height } = info;
    return { width, height, channels, pixels: overWhite(data, info.channels, channels) };
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/\s+/g, ' ').trim() : 'unknown error';
    throw new DataError(`cannot be decoded as an image (${why})`, place);
  }
}

/**
 * The first `channels` of `found` channels, laid over white where the last one is alpha (2 or 4 channels). By hand, for one defined rounding:
 * libvips' own flatten makes white 254 in 16-bit grey.
 */
function overWhite(pixels: Uint8Array, found: number, channels: 1 | 3): Uint8Array {
  if (found < channels) throw new Error(`${found} channels`);
  if (found === channels) return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
  const count = pixels.length / found;
  const result = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const alpha = found % 2 === 0 ? (pixels[(i + 1) * found - 1] as number) : 255;
    for (let c = 0; c < channels; c++) {
      const value = pixels[i * found + c] as number;
      result[i * channels + c] = Math.round((value * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return result;
}
