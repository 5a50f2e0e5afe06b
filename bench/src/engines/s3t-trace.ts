import { AdamW, capture, crossEntropy, Device, gelu, gradients, linear, scope, tensor } from '@s3t/engine';
import type { Trace } from '../engine.ts';
import { values } from '../inputs.ts';
import { trainingStep } from './s3t-nets.ts';

const REPLAYS = 12;
const STEPS = 1000;
const FIRST = 10;

/** What a replay of the ViT step costs the host, and what 1,000 steps of a small net leave behind on the device. */
export async function trace(): Promise<Trace> {
  const device = await Device.open();
  const { step, prepare } = trainingStep(device, 'vit', true);
  const replayed = capture(device, step);
  const [encode, whole]: [number[], number[]] = [[], []];
  for (let i = 0; i < REPLAYS; i++) {
    prepare();
    await device.idle();
    const start = performance.now();
    replayed.replay();
    encode.push(performance.now() - start);
    await device.idle();
    whole.push(performance.now() - start);
  }
  const commands = replayed.length;
  replayed.dispose();
  const liveBytes = { captured: await liveBytesOf(device, true), eager: await liveBytesOf(device, false) };
  device.close();
  // The first of both compiles; the least is what other processes disturbed least.
  return { commands, encodeMs: Math.min(...encode.slice(1)), stepMs: Math.min(...whole.slice(1)), liveBytes };
}

/** Live bytes after 10 and after 1,000 steps of a net of two layers. */
async function liveBytesOf(device: Device, captured: boolean): Promise<[number, number]> {
  const [rows, width, classes] = [32, 64, 8];
  const trained = (seed: number, out: number, from: number) => [
    tensor(device, values(seed, out * from), [out, from], { trainable: true }),
    tensor(device, new Float32Array(out), [out], { trainable: true }),
  ];
  const [up, upBias, down, downBias] = [...trained(1, width, width), ...trained(2, classes, width)];
  const parameters = [up!, upBias!, down!, downBias!];
  const optimiser = new AdamW(device, parameters);
  const x = tensor(device, values(3, rows * width), [rows, width]);
  const labels = tensor(device, new Uint32Array(rows));
  const weights = tensor(device, new Float32Array(rows).fill(1));
  const step = () => {
    const hidden = gelu(linear(x, up!, upBias!));
    const loss = crossEntropy(linear(hidden, down!, downBias!), labels, weights);
    optimiser.apply(gradients(loss, parameters));
    return loss;
  };
  const replayed = captured ? capture(device, step) : null;
  const live: number[] = [];
  for (let i = 1; i <= STEPS; i++) {
    x.write(values(i, rows * width));
    optimiser.begin(1e-4);
    if (replayed) replayed.replay();
    else scope(() => void step());
    if (i % 50 === 0 || i === FIRST) await device.idle();
    if (i === FIRST || i === STEPS) live.push(device.memory().liveBytes + device.memory().textureBytes);
  }
  replayed?.dispose();
  optimiser.dispose();
  for (const each of [...parameters, x, labels, weights]) each.dispose();
  return live as [number, number];
}
