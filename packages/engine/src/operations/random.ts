import { NUMBERS } from '../data-type.ts';
import type { Device } from '../device.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { type Apply, foursOf, gridOf, operation } from '../operation.ts';
import { philox, type RandomKey } from '../philox.ts';
import { type Shape, type Tensor, tensor } from '../tensor.ts';

/** The state that random operations draw from: a key and a step, in a buffer so that a replayed step draws anew. */
export interface RandomState {
  state: Tensor;
  /** Sets the step that the next draws belong to. */
  setStep(step: number): void;
}

/** Fails for what an array of u32 would take for another number: two draws that should differ would be one. */
function checkWord(what: string, value: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value < 2 ** 32))
    throw new EngineError(`${what} ${value} is not a whole number of 0 to 2^32 - 1`);
}

/** A random state of a key. @throws EngineError for a step or a word of the key that is not a u32 */
export function randomState(device: Device, key: RandomKey, step = 0): RandomState {
  const words = (next: number) => {
    checkWord('randomState: step', next);
    return Uint32Array.of(key[0], key[1], next, 0);
  };
  for (const word of key) checkWord('randomState: word of the key', word);
  const state = tensor(device, words(step));
  return { state, setStep: (next) => state.write(words(next)) };
}

/** Fails unless an operation can draw from such a state and stream. */
export function checkDraw(name: string, state: Shape, stream: number): void {
  if (state.join() !== '4') throw new ShapeError(`${name}: the random state has shape [${state}], not [4]`);
  checkWord(`${name}: stream`, stream);
}

interface Dropout {
  rate: number;
  stream: number;
}

/** Elements are dropped where their word is below this. */
function thresholdOf(rate: number): number {
  return Math.floor(rate * 2 ** 32) >>> 0;
}

const applyDropout: Apply<Dropout> = operation<Dropout>({
  name: 'dropout',
  summary: 'zero with probability `rate`, else x / (1 - rate); Philox-4x32-10 by key, step and stream',
  dtypes: [NUMBERS, 'u32'],
  shape: ([x, state], { rate, stream }) => {
    checkDraw('dropout', state!, stream);
    if (!(rate >= 0 && rate < 1)) throw new EngineError(`dropout: rate ${rate} is not in [0, 1)`);
    return x!;
  },
  forward: ({ inputs: [x, state], attributes: { rate, stream }, output }) => {
    const scale = new Uint32Array(new Float32Array([1 / (1 - rate)]).buffer)[0]!;
    output.device.dispatch('random/dropout', {
      bindings: [x!.storage, state!.storage, output.storage],
      params: Uint32Array.of(0, stream, thresholdOf(rate), scale),
      writes: [2],
      workgroups: gridOf(foursOf(output)),
    });
  },
  gradient: ({ inputs: [, state], attributes, gradient }) => [
    applyDropout([gradient, state!], attributes),
    null,
  ],
  reference: ([x, state], { rate, stream }) => {
    const [low, high, step] = state!.data as unknown as [number, number, number];
    return x!.data.map((value, i) => {
      const word = philox([Math.floor(i / 4), step, stream, 0], [low, high])[i % 4]!;
      return word >= thresholdOf(rate) ? value / (1 - rate) : 0;
    });
  },
  cases: [
    { inputs: [[9, 7], { shape: [4], below: 1000 }], attributes: { rate: 0.3, stream: 2 } },
    { inputs: [[4], { shape: [4], below: 1000 }], attributes: { rate: 0, stream: 0 } },
  ],
});

/**
 * Dropout: zero with probability `rate`, otherwise divided by 1 - rate. `stream` tells the uses within a step apart.
 * @throws EngineError for a rate that is not from 0 to below 1, or a stream that is not a u32
 */
export function dropout(x: Tensor, random: RandomState, rate: number, stream: number): Tensor {
  return applyDropout([x, random.state], { rate, stream });
}
