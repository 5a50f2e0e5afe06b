/** A contact sheet to look at: `node tools/pretrain/src/sheet.ts OUT.png [--mnist]`. A row a class; --mnist adds real digits beside ours. */
import { createRequire } from 'node:module';
import sharp from 'sharp';
import { classes } from './classes.ts';
import { renderGlyphs } from './glyphs.ts';
import { pixels, side } from './pen.ts';

const columns = 24;
const [path = 'sheet.png', ...flags] = process.argv.slice(2);
const real = flags.includes('--mnist');
const shown = real ? classes.slice(0, 10) : classes;

const cell = side + 2;
const width = (real ? 2 * columns + 1 : columns) * cell;
const image = new Uint8Array(width * shown.length * cell).fill(64);

const paste = (source: ArrayLike<number>, offset: number, column: number, row: number) => {
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      image[(row * cell + 1 + y) * width + column * cell + 1 + x] = source[offset + y * side + x]!;
    }
  }
};

shown.forEach((name, row) => {
  const { images } = renderGlyphs({ count: columns, seed: 1000 + row, classes: [name] });
  for (let i = 0; i < columns; i++) paste(images, i * pixels, i, row);
  if (!real) return;
  // 10,000 digits of MNIST, an object of flat lists a digit, 0 to 1; looked at, never trained on.
  const { data } = createRequire(import.meta.url)(`mnist/src/digits/${name}.json`) as { data: number[] };
  for (let i = 0; i < columns; i++) {
    paste(
      data.slice((i + 100) * pixels, (i + 101) * pixels).map((v) => v * 255),
      0,
      columns + 1 + i,
      row,
    );
  }
});
await sharp(image, { raw: { width, height: shown.length * cell, channels: 1 } })
  .resize({ width: width * (real ? 1 : 2), kernel: 'nearest' })
  .png()
  .toFile(path);
