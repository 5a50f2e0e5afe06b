import { rm } from 'node:fs/promises';
import { mnistDigits, writeIdx } from '@s3t/data';
import { Unlearner } from '@s3t/unlearner';

// 400 handwritten digits as the files that s3t.config.json names, and one to ask about.
await rm('runs/example', { recursive: true, force: true });
const digits = await mnistDigits(import.meta.url);
const size = { width: 28, height: 28 };
const part = (from: number, to: number) => {
  const some = digits.slice(from, to);
  return { ...size, images: some.map(({ pixels }) => pixels), labels: some.map(({ label }) => label) };
};
await writeIdx('runs/example/data', 'train', part(0, 400));
await writeIdx('runs/example/data', 'eval', part(400, 500));
const pixels = digits[500]!.pixels; // a Uint8Array of 28 x 28 bytes, row after row

await using run = await Unlearner.open({ run: 'runs/example/run', config: 'examples/s3t.config.json' });
run.on((event) => event.type === 'stage-published' && console.log('trained', event.stage.slice(0, 12)));
await run.train();

const ask = async () => {
  const { answers, stages, version } = await run.predict([{ image: { ...size, channels: 1, pixels } }]);
  console.log(`a ${answers[0]![0]!.label}, say ${stages.length} stages of version ${version}`);
};
await ask();
const receipt = await run.erase(['train/17']); // resolves when nothing that saw it exists any more
console.log(`erased in ${receipt.acknowledgedMs} ms: ${receipt.deactivated.length} stages are gone`);
await ask(); // from what never saw the record
await run.repair(); // in the background of predictions
console.log(await run.verify({ fromScratch: true })); // { identical: true, ... }
