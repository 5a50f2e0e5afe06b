import { createHash } from 'node:crypto';
import type { DecodedImage } from './record.ts';

/** What a digest covers. `image`: the bytes of an image file as they are, or decoded pixels where the data set stores pixels. */
export interface RecordContent {
  label: string | null;
  text?: Record<string, string> | undefined;
  image?: Uint8Array | DecodedImage | undefined;
  /** Decides where the record lies: one whose risk changes is another record. */
  risk?: string | undefined;
}

/**
 * SHA-256 (64 hex digits) of a record's content, in a form that anybody can compute again:
 *
 *     JSON ["s3t-record-1", label, [[name, text], ...], image]   UTF-8, no spaces, as JSON.stringify writes it
 *     one line feed
 *     the image file's bytes, or the pixels in row-major interleaved order; nothing if there is no image
 *
 * Text fields are sorted by name (UTF-16 code units), so the order of the configuration does not matter. `image` is null, "file" for the
 * bytes of a file, or [width, height, channels] for pixels. Where a record declares its risk, that is a fifth element. JSON escapes line feeds, so the first one ends the header.
 */
export function recordDigest({ label, text, image, risk }: RecordContent): string {
  const names = text === undefined ? [] : Object.keys(text).sort();
  const fields = names.map((name) => [name, text?.[name]]);
  let kind: null | 'file' | number[] = null;
  let bytes: Uint8Array | undefined;
  if (image instanceof Uint8Array) {
    kind = 'file';
    bytes = image;
  } else if (image !== undefined) {
    kind = [image.width, image.height, image.channels];
    bytes = image.pixels;
  }
  const hash = createHash('sha256');
  hash.update(
    `${JSON.stringify(['s3t-record-1', label, fields, kind, ...(risk === undefined ? [] : [risk])])}\n`,
  );
  if (bytes !== undefined) hash.update(bytes);
  return hash.digest('hex');
}
