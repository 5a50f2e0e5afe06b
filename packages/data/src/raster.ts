import { recordDigest } from './digest.ts';
import { numberedLabel } from './labels.ts';
import type { DataOptions, DataRecord, DecodedImage, Split } from './record.ts';

/** Images of one size in one buffer, as IDX and CIFAR files hold them. */
export interface Raster {
  /** Where the labels came from, for errors. */
  file: string;
  width: number;
  height: number;
  channels: 1 | 3;
  /** One class number per image. */
  labels: Uint8Array;
  /** Image after image, each row-major and interleaved: labels.length * height * width * channels bytes. */
  pixels: Uint8Array;
}

/** Records that are views of the rasters (no pixel is copied), with the ids `<split>/<row number>` counted through all of them. */
export function recordsOfRasters(
  rasters: readonly Raster[],
  split: Split,
  options: DataOptions,
): DataRecord[] {
  const records: DataRecord[] = [];
  for (const raster of rasters) {
    for (let i = 0; i < raster.labels.length; i++) {
      const place = { file: raster.file, row: i };
      const label = numberedLabel(raster.labels[i] as number, options.labels, place);
      const digest = recordDigest({ label, image: imageAt(raster, i) });
      const image = async (): Promise<DecodedImage> => imageAt(raster, i);
      records.push({ id: `${split}/${records.length}`, label, digest, image });
    }
  }
  return records;
}

function imageAt({ width, height, channels, pixels }: Raster, i: number): DecodedImage {
  const size = width * height * channels;
  return { width, height, channels, pixels: pixels.subarray(i * size, (i + 1) * size) };
}
