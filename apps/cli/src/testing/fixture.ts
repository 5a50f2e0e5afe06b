import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mnistDigits, writeIdx } from '@s3t/data';

/** The checkout. */
export const ROOT: string = fileURLToPath(new URL('../../../..', import.meta.url));

/** A run that trains in seconds: 96 digits, 2 shards x 2 slices, 2 sequences. Returns its folder; `s3t.config.json` and data lie in it. */
export async function tinyRun(
  options: { epochs?: number } = {},
): Promise<{ folder: string; config: string; run: string }> {
  const folder = mkdtempSync(join(tmpdir(), 's3t-cli-'));
  const digits = await mnistDigits(import.meta.url);
  const part = (from: number, to: number): Parameters<typeof writeIdx>[2] => ({
    width: 28,
    height: 28,
    images: digits.slice(from, to).map(({ pixels }) => pixels),
    labels: digits.slice(from, to).map(({ label }) => label),
  });
  mkdirSync(join(folder, 'data'));
  await writeIdx(join(folder, 'data'), 'train', part(0, 96));
  await writeIdx(join(folder, 'data'), 'eval', part(9000, 9064));
  const config = join(folder, 's3t.config.json');
  writeFileSync(config, JSON.stringify(tinyConfig(folder, options.epochs ?? 1), null, 2));
  return { folder, config, run: join(folder, 'run') };
}

function tinyConfig(folder: string, epochs: number): unknown {
  return {
    base: relative(folder, join(ROOT, 'assets/vit-tiny')),
    task: 'image-classification',
    data: { train: 'data', eval: 'data', labels: [...'0123456789'] },
    shards: 2,
    slices: 2,
    budget: 2,
    lora: { rank: 4, alpha: 4, dropout: 0 },
    training: { epochs, batchSize: 16, learningRate: 0.01 },
  };
}
