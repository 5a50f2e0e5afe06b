import { join } from 'node:path';
import { type MnistDigit, mnistDigits, writeIdx } from '@s3t/data';
import { UsageError } from '../errors.ts';
import { EVALUATION_DIGITS } from './settings.ts';

/**
 * Writes handwritten digits as the IDX files a user would have, and returns those to measure with. One that nothing learns from lies
 * beside them as `digit.png`, for whoever wants to ask the served run by hand.
 */
export async function writeDigits(folder: string, records: number): Promise<MnistDigit[]> {
  const digits = await mnistDigits(import.meta.url);
  const most = digits.length - EVALUATION_DIGITS;
  if (records > most)
    throw new UsageError(
      `--records: there are ${digits.length} digits, ${EVALUATION_DIGITS} of them to measure with: at most ${most}`,
    );
  const evaluation = digits.slice(most);
  await writeIdx(join(folder, 'data'), 'train', asIdx(digits.slice(0, records)));
  await writeIdx(join(folder, 'data'), 'eval', asIdx(evaluation));
  const { default: sharp } = await import('sharp');
  await sharp(evaluation[0]!.pixels, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toFile(join(folder, 'digit.png'));
  return evaluation;
}

function asIdx(digits: readonly MnistDigit[]): Parameters<typeof writeIdx>[2] {
  return {
    width: 28,
    height: 28,
    images: digits.map(({ pixels }) => pixels),
    labels: digits.map(({ label }) => label),
  };
}
