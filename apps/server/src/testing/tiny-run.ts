// The smallest run there is: 96 images of two kinds of stripes, 2 shards x 2 slices x 2 sequences, on the project's own base.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SIDE = 28;
const COUNT = 96;

export interface TinyRun {
  folder: string;
  /** Path of its s3t.config.json. */
  config: string;
  /** Path of the run folder, which is not there yet. */
  run: string;
  remove(): Promise<void>;
}

/** Writes data and configuration into a temporary folder. Records are `train/0` to `train/95`. */
export async function tinyRun(): Promise<TinyRun> {
  const folder = await mkdtemp(join(tmpdir(), 's3t-server-'));
  await mkdir(join(folder, 'data'));
  const images = Array.from({ length: COUNT }, (_, n) => stripes(n));
  await writeFile(join(folder, 'data/train-images-idx3-ubyte'), idx([COUNT, SIDE, SIDE], images));
  await writeFile(
    join(folder, 'data/train-labels-idx1-ubyte'),
    idx([COUNT], [Uint8Array.from(images, (_, n) => n % 2)]),
  );
  const config = join(folder, 's3t.config.json');
  const content = {
    base: fileURLToPath(new URL('../../../../assets/vit-tiny', import.meta.url)),
    task: 'image-classification',
    data: { train: 'data', labels: ['rows', 'columns'] },
    shards: 2,
    slices: 2,
    budget: 2,
    training: { epochs: 1, batchSize: 16 },
  };
  await writeFile(config, JSON.stringify(content));
  return {
    folder,
    config,
    run: join(folder, 'run'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Image `n`: rows where even, columns where odd, shifted and dimmed so that no two are the same. */
export function stripes(n: number): Uint8Array {
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let at = 0; at < pixels.length; at++) {
    const along = n % 2 === 0 ? Math.floor(at / SIDE) : at % SIDE;
    pixels[at] = (along + n) % 7 < 3 ? 255 - n : n;
  }
  return pixels;
}

function idx(dimensions: readonly number[], parts: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(4 + 4 * dimensions.length);
  header.writeUInt32BE(0x0800 + dimensions.length);
  for (const [at, size] of dimensions.entries()) header.writeUInt32BE(size, 4 + 4 * at);
  return Buffer.concat([header, ...parts]);
}
