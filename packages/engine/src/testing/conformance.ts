import { type AdapterClass, capture, Device, operations } from '@s3t/engine';
import { bitsOf, bitsOfAll, trainedBits, trainingBlock } from './block.ts';
import { checkCase, computeCase } from './check-case.ts';

/** What the engine is worth in one runtime, on one adapter. */
export interface Conformance {
  adapter: string;
  adapterClass: AdapterClass;
  operations: number;
  cases: number;
  /** One line for each thing that is wrong; none when all is right. */
  wrong: string[];
}

const STEPS = 8;

/**
 * Holds everything the engine promises anywhere against this runtime: every operation of the table, forward and backward,
 * against its reference; each twice, bit for bit; and a captured training step, replayed, against the eager one, with activations in f32 and f16.
 * Needs nothing but the packed engine.
 */
export async function conformance(): Promise<Conformance> {
  using device = await Device.open();
  const wrong: string[] = [];
  let cases = 0;
  for (const [name, operation] of operations) {
    for (const testCase of operation.declaration.cases) {
      cases++;
      const title = `${name} ${JSON.stringify(testCase)}`;
      const first = await checkCase(device, operation, testCase);
      const { errors, tolerances } = first;
      if (!(errors.forward <= tolerances.forward)) wrong.push(`${title}: off by ${errors.forward}`);
      for (const error of errors.gradients)
        if (!(error <= tolerances.gradients)) wrong.push(`${title}: a gradient is off by ${error}`);
      const again = await computeCase(device, operation, testCase);
      if (first.values.map(bitsOf).join() !== again.values.map(bitsOf).join())
        wrong.push(`${title}: other bits the second time`);
    }
  }
  for (const stored of ['f32', 'f16'] as const) {
    const eager = await trainedBits(device, STEPS, stored);
    for (const time of ['first', 'second'])
      if ((await capturedBits(device, stored)).join() !== eager.join())
        wrong.push(`training in ${stored}: the ${time} captured run is not the eager one`);
  }
  return {
    adapter: device.adapterName,
    adapterClass: device.adapterClass,
    operations: operations.size,
    cases,
    wrong,
  };
}

/** Trains a fresh block by replaying a captured step; the losses' and the parameters' bits. */
async function capturedBits(device: Device, stored: 'f32' | 'f16'): Promise<string[]> {
  const block = trainingBlock(device, stored);
  const step = capture(device, () => block.step());
  const bits: string[] = [];
  for (let at = 0; at < STEPS; at++) {
    block.prepare(at);
    step.replay();
    bits.push(bitsOf(await step.outputs.loss.read()));
  }
  bits.push(...(await bitsOfAll(block.parameters)));
  step.dispose();
  block.dispose();
  return bits;
}
