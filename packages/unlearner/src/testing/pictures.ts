import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { uniformValues } from '@s3t/engine';
import type { Input } from '../types.ts';
import { greyPng } from './png.ts';

/** What the pictures show: where their bright bar lies. */
export const LABELS = ['top', 'bottom', 'left', 'right'] as const;
const SIDE = 8;

/** A record as the tests make it. */
export interface MadeRecord {
  id: string;
  label: string;
  pixels: Uint8Array;
}

/** `count` noisy pictures of bars, ids `person-0` on, labels in turn; the same every time. */
export function madeRecords(count: number, seed = 7): MadeRecord[] {
  return Array.from({ length: count }, (_, number) => madeRecord(number, seed));
}

/** Another `seed` gives another picture of the same label. */
export function madeRecord(number: number, seed = 7): MadeRecord {
  const kind = number % LABELS.length;
  const noise = uniformValues(SIDE * SIDE, 60, [seed, number], 0);
  const pixels = Uint8Array.from(noise, (value, i) => {
    const [x, y] = [i % SIDE, Math.floor(i / SIDE)];
    const isBright = [y < 3, y >= SIDE - 3, x < 3, x >= SIDE - 3][kind]!;
    return (isBright ? 180 : 70) + value;
  });
  return { id: `person-${number}`, label: LABELS[kind]!, pixels };
}

/** A picture as predictions take it. */
export function imageOf({ pixels }: MadeRecord): Extract<Input, { image: unknown }> {
  return { image: { width: SIDE, height: SIDE, channels: 1 as const, pixels } };
}

/** Writes `<name>.jsonl` and the PNG files it names. */
export async function writeRecords(
  folder: string,
  name: string,
  records: readonly MadeRecord[],
): Promise<void> {
  await mkdir(join(folder, name), { recursive: true });
  const rows = await Promise.all(
    records.map(async ({ id, label, pixels }) => {
      const path = `${name}/${id}.png`;
      await writeFile(join(folder, path), greyPng(SIDE, SIDE, pixels));
      return `${JSON.stringify({ id, label, path })}\n`;
    }),
  );
  await writeFile(join(folder, `${name}.jsonl`), rows.join(''));
}
