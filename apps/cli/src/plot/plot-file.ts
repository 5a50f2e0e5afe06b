import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type LineChart, lineChart } from '@s3t/laboratory/plot';
import { InvalidArgumentError } from 'commander';
import { say } from '../terminal/print.ts';

/** What every command that draws takes. */
export interface PlotOption {
  plot?: string;
}

const KINDS = new Set(['.svg', '.png']);

export const PLOT: readonly [string, string, (file: string) => string] = [
  '--plot <file>',
  'draw it too: .svg, or .png (with the fonts of this machine)',
  (file) => {
    if (KINDS.has(extname(file).toLowerCase())) return file;
    throw new InvalidArgumentError('Its name must end in .svg or .png.');
  },
];

/** Draws a chart into a file, by its ending; PNG with twice the pixels. */
export async function writePlot(file: string, chart: LineChart): Promise<void> {
  const svg = lineChart(chart);
  if (extname(file).toLowerCase() === '.svg') {
    await writeFile(file, `${svg}\n`);
  } else {
    const { default: sharp } = await import('sharp');
    await writeFile(file, await sharp(Buffer.from(svg), { density: 144 }).png().toBuffer());
  }
  say(`drawn: ${file}`);
}
