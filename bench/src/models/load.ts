import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Device } from '@s3t/engine';
import { loadBaseModel, parseVitConfig, vitParameters } from '@s3t/model';
import { type ModelRow, medianOf } from './report.ts';

/** A ViT-large: 303 million numbers. */
const CONFIG = {
  model_type: 'vit',
  hidden_size: 1024,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  intermediate_size: 4096,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  image_size: 224,
  patch_size: 16,
  num_channels: 3,
  qkv_bias: true,
};
const PREPROCESSING = {
  size: { width: 224, height: 224 },
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
};
const BYTES = { F32: 4, BF16: 2 } as const;
type Dtype = keyof typeof BYTES;
const PIECE = 2 ** 22;

/**
 * How fast a base comes from a file onto the device, beside reading the same file from one end to the other into one buffer. The
 * two take turns; before each the file is dropped from the page cache, where the system lets us.
 */
export async function measureLoading(rounds: number): Promise<ModelRow[]> {
  const rows: ModelRow[] = [];
  for (const dtype of ['F32', 'BF16'] as const) {
    const folder = mkdtempSync(join(tmpdir(), 's3t-bench-'));
    try {
      rows.push(...(await measureFolder(folder, dtype, rounds)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  return rows;
}

async function measureFolder(folder: string, dtype: Dtype, rounds: number): Promise<ModelRow[]> {
  const { file, bytes, largest } = await writeModel(folder, dtype);
  // Beside a page cache nothing is slow that a disk has to do with: only where it cannot be emptied.
  const isCold = dropFromCache(file);
  const times = { read: [] as number[], keep: [] as number[], load: [] as number[], cpu: [] as number[] };
  let peak = 0;
  // The first round opens pipelines and gives the process its memory.
  for (let round = -1; round < rounds; round++) {
    if (isCold) dropFromCache(file);
    const read = await timed(() => readThrough(file, false));
    if (isCold) dropFromCache(file);
    const keep = await timed(() => readThrough(file, true));
    if (isCold) dropFromCache(file);
    // A device of its own each time: with the last one's memory goes the last base.
    const device = await Device.open();
    const watch = watchMemory();
    const before = process.cpuUsage();
    const load = await timed(async () => {
      await loadBaseModel(device, folder);
      await device.idle();
    });
    peak = Math.max(peak, watch.stop());
    const { user, system } = process.cpuUsage(before);
    device.close();
    if (round < 0) continue;
    times.read.push(read);
    times.keep.push(keep);
    times.load.push(load);
    times.cpu.push((user + system) / 1000);
  }
  const [read, keep, load] = [times.read, times.keep, times.load].map(medianOf) as [number, number, number];
  const what = `load ${dtype} ${(bytes / 1e9).toFixed(2)} GB, ${isCold ? 'cold' : 'warm'} page cache`;
  const rate = (ms: number) => `${(bytes / ms / 1e6).toFixed(2)} GB/s`;
  return [
    {
      ...{ what, ms: load, reference: 'reading the file, keeping nothing', referenceMs: read },
      ...{ ratio: read / load, aim: 0.6, atLeast: true },
      note: `${rate(load)} of ${rate(read)}; ${medianOf(times.cpu).toFixed(0)} ms of processor time; host arrays ${(peak / largest).toFixed(2)}x the largest tensor`,
    },
    {
      ...{ what, ms: load, reference: 'reading the file into memory that keeps it', referenceMs: keep },
      ...{ ratio: keep / load, aim: 0.6, atLeast: true },
      note: `${rate(load)} of ${rate(keep)}`,
    },
  ];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Reads a file in order, in pieces: into one place over and over, or into memory that keeps it all. */
async function readThrough(file: string, isKept: boolean): Promise<void> {
  const handle = await open(file);
  const pieces = [Buffer.allocUnsafeSlow(PIECE)];
  while ((await handle.read(pieces.at(-1)!, 0, PIECE)).bytesRead > 0)
    if (isKept) pieces.push(Buffer.allocUnsafeSlow(PIECE));
  await handle.close();
}

/** Whether the system forgot what it had of a file in memory. */
function dropFromCache(file: string): boolean {
  try {
    execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The most bytes that arrays of the process held, over what they hold now. */
function watchMemory(): { stop(): number } {
  const held = () => process.memoryUsage().arrayBuffers;
  const before = held();
  let most = before;
  const look = () => {
    most = Math.max(most, held());
  };
  const timer = setInterval(look, 2);
  return {
    stop() {
      look();
      clearInterval(timer);
      return most - before;
    },
  };
}

/** Writes a model of random numbers, tensor by tensor. */
async function writeModel(
  folder: string,
  dtype: Dtype,
): Promise<{ file: string; bytes: number; largest: number }> {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(CONFIG));
  writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify(PREPROCESSING));
  const file = join(folder, 'model.safetensors');
  const parameters = vitParameters(parseVitConfig(CONFIG, 'config.json'));
  const sizes = parameters.map(({ shape }) =>
    shape.reduce((product, extent) => product * extent, BYTES[dtype]),
  );
  let end = 0;
  const described = parameters.map(({ name, shape }, i) => {
    const from = end;
    end += sizes[i]!;
    return [name, { dtype, shape, data_offsets: [from, end] }];
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(described)));
  const length = new BigUint64Array([BigInt(header.length)]);
  const handle = await open(file, 'w');
  await handle.writeFile(new Uint8Array(length.buffer));
  await handle.writeFile(header);
  const largest = Math.max(...sizes);
  const values = randomBytes(largest, dtype);
  for (const size of sizes) await handle.writeFile(values.subarray(0, size));
  await handle.sync();
  const { size } = await handle.stat();
  await handle.close();
  // On the device and in the host's hands a number takes four bytes.
  return { file, bytes: size, largest: (largest / BYTES[dtype]) * 4 };
}

/** Numbers between 1 and 2: any bits of a mantissa. */
function randomBytes(bytes: number, dtype: Dtype): Uint8Array<ArrayBuffer> {
  if (dtype === 'F32') {
    const words = Uint32Array.from(
      { length: bytes / 4 },
      (_, i) => 0x3f800000 | (Math.imul(i, 2654435761) >>> 9),
    );
    return new Uint8Array(words.buffer);
  }
  const halves = Uint16Array.from(
    { length: bytes / 2 },
    (_, i) => 0x3f80 | (Math.imul(i, 2654435761) >>> 25),
  );
  return new Uint8Array(halves.buffer);
}
