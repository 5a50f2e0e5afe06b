import { pack, unpack } from './data-type.ts';
import type { Device } from './device.ts';
import { gradients } from './gradients.ts';
import { kernelIdentity } from './kernel-identity.ts';
import { type CaseInput, type OperationDeclaration, operations, type ReferenceArray } from './operation.ts';
import './operations/activations.ts';
import { multiply } from './operations/arithmetic.ts';
import './operations/attention.ts';
import './operations/elementwise.ts';
import './operations/linear.ts';
import './operations/lora.ts';
import './operations/loss.ts';
import './operations/norm.ts';
import { cast, quantise } from './operations/quantised.ts';
import { total } from './operations/reduce.ts';
import './operations/rms-norm.ts';
import './operations/rope.ts';
import './operations/vocabulary-loss.ts';
import { type RandomKey, uniformValues } from './philox.ts';
import { prepare } from './prepare.ts';
import { scope } from './scope.ts';
import { empty, sizeOf, type Tensor, tensor } from './tensor.ts';

/** One operation at one shape, forward and, unless told otherwise, backward. */
interface Check {
  name: string;
  forwardOnly?: boolean;
  /** One of the few that are run, forward, when a software adapter is first opened: products and subgroups. */
  brief?: boolean;
  /** A number: the same tensor as that input. */
  inputs: readonly (CaseInput | number)[];
  attributes?: unknown;
  /** What the first input is stored as. Default f32. */
  stored?: 'f16';
}

const labels = (rows: number, below: number) => [
  { shape: [rows], below },
  { shape: [rows], positive: true as const },
];

/**
 * What a wrong compiler or driver breaks first, and what training and answers rest on. The extents are the least that choose the
 * variants of real ones, and as few variants as do: products of more than 32 rows and columns, of many such, of adapters, of few and odd ones, deep in
 * k, of every layout (two of the three are gradients of the third); wide and narrow heads, shared and masked ones; rows that fit
 * into registers, and wider ones.
 */
const CHECKS: readonly Check[] = [
  {
    name: 'matmul',
    inputs: [
      [40, 36],
      [44, 36],
    ],
    attributes: { transposeB: true, alpha: -0.5 },
    brief: true,
  },
  {
    name: 'matmul',
    inputs: [
      [520, 12],
      [36, 12],
    ],
    attributes: { transposeB: true },
  },
  {
    name: 'matmul',
    inputs: [
      [128, 128, 4],
      [128, 128, 4],
    ],
    attributes: { transposeB: true },
    // Its gradients are of few elements.
    forwardOnly: true,
  },
  { name: 'linear', inputs: [[34, 36], [40, 36], [40]], attributes: { activation: 'gelu' } },
  { name: 'linear', inputs: [[34, 36], [40, 36], [40]], attributes: { activation: 'gelu' }, stored: 'f16' },
  { name: 'linear', inputs: [[34, 36], [40, 36], [40], [34, 40]], attributes: {} },
  { name: 'linear', inputs: [[9, 5], [7, 5], [7]], attributes: { activation: 'silu' } },
  {
    name: 'unbiasedLinear',
    inputs: [
      [34, 36],
      [40, 36],
      [34, 40],
    ],
    attributes: {},
  },
  { name: 'loraLinear', inputs: [[34, 36], [40, 36], 0, [16, 36], [40, 16]], attributes: { scale: 2 } },
  { name: 'linear', inputs: [[5, 64], { shape: [8, 64], dtype: 'int4x32' }, [8]], attributes: {} },
  { name: 'loraLinear', inputs: [[66, 68], [68, 68], 0, [16, 68], [68, 16], [68]], attributes: { scale: 2 } },
  {
    name: 'loraLinear',
    inputs: [[34, 36], { shape: [40, 36], dtype: 'int8' }, [34, 36], [16, 36], [40, 16], [40]],
    attributes: { scale: 2 },
  },
  {
    name: 'groupedLoraLinear',
    inputs: [[2, 34, 36], [40, 36], 0, [2, 16, 36], [2, 40, 16], [40]],
    attributes: { scale: 2 },
  },
  {
    name: 'attention',
    inputs: [
      [1, 17, 32],
      [1, 17, 32],
      [1, 17, 32],
    ],
    attributes: { heads: 1, keyHeads: 1 },
    brief: true,
  },
  {
    name: 'attention',
    inputs: [[2, 9, 64], [2, 9, 32], [2, 9, 32], { shape: [2, 9], below: 2 }],
    attributes: { heads: 4, keyHeads: 2, causal: true },
  },
  {
    name: 'attention',
    inputs: [
      [1, 3, 16],
      [1, 3, 16],
      [1, 3, 16],
    ],
    attributes: { heads: 2, keyHeads: 2 },
  },
  { name: 'layerNorm', inputs: [[34, 32], [32], [32]], attributes: { epsilon: 1e-6 } },
  { name: 'layerNorm', inputs: [[34, 32], [32], [32]], attributes: { epsilon: 1e-6 }, stored: 'f16' },
  { name: 'layerNorm', inputs: [[3, 260], [260], [260]], attributes: { epsilon: 1e-6 } },
  { name: 'rmsNorm', inputs: [[34, 32], [32]], attributes: { epsilon: 1e-6 } },
  { name: 'rmsNorm', inputs: [[3, 260], [260]], attributes: { epsilon: 1e-6 } },
  { name: 'softmax', inputs: [[9, 132]] },
  { name: 'softmax', inputs: [[4, 7]] },
  { name: 'gelu', inputs: [[4, 66]] },
  { name: 'gelu', inputs: [[4, 66]], stored: 'f16' },
  { name: 'gelu', inputs: [[34, 1000]] },
  { name: 'silu', inputs: [[4, 66]] },
  { name: 'affine', inputs: [[4, 66]], attributes: { scale: 3, shift: 0.5 } },
  {
    name: 'swiglu',
    inputs: [
      [4, 66],
      [4, 66],
    ],
  },
  {
    name: 'rope',
    inputs: [
      [2, 5, 32],
      [5, 16],
    ],
    attributes: { inverse: false },
  },
  { name: 'crossEntropy', inputs: [[5, 10], ...labels(5, 10)] },
  {
    name: 'vocabularyCrossEntropy',
    inputs: [[34, 36], [84, 36], ...labels(34, 84)],
    attributes: { chunk: 44 },
  },
];

/** A check with its inputs, on the host and on the device. */
interface Made {
  check: Check;
  arrays: readonly ReferenceArray[];
  tensors: readonly Tensor[];
  /** The inputs whose gradients are checked. */
  wanted: readonly number[];
  /** Times the output, they are summed: that is what the gradients are of. */
  weights: Tensor;
  weightValues: Float32Array;
}

/** By adapter, the kernels that were found right in this process. */
const sound: Map<string, string> = new Map();

/** The few checks of a software adapter, once for each adapter and all kernels' texts. @returns as `checkKernels` */
export async function checkBriefly(device: Device): Promise<string[]> {
  const kernels = kernelIdentity();
  if (sound.get(device.adapterName) === kernels) return [];
  const wrong = await checkKernels(device, true);
  if (wrong.length === 0) sound.set(device.adapterName, kernels);
  return wrong;
}

type Draw = (count: number) => Float32Array<ArrayBuffer>;

/**
 * Runs products, LoRA, attention, norms, activations and losses with their gradients on fresh random numbers, and reads all results
 * at once; one line for each that is not what float64 gives.
 * @param brief only a few of them, forward: of milliseconds, once their kernels are compiled
 */
export async function checkKernels(device: Device, brief = false): Promise<string[]> {
  const [low, high] = crypto.getRandomValues(new Uint32Array(2)) as unknown as RandomKey;
  let stream = 0;
  const draw: Draw = (count) => uniformValues(count, 1, [low, high], stream++);
  const made: Made[] = [];
  try {
    for (const check of CHECKS)
      if (check.brief || !brief)
        made.push(make(device, brief ? { ...check, forwardOnly: true } : check, draw));
    const results = await compute(device, made);
    return made.flatMap((each, i) =>
      faultsOf(device, each, results[i]!, draw).map((fault) => `${fault}, seed ${low} ${high}`),
    );
  } catch (error) {
    // A kernel that does not compile spoils the device: nothing can be read from it any more.
    return [(error as Error).message];
  } finally {
    for (const { tensors, weights } of made) for (const each of [...tensors, weights]) each.dispose();
  }
}

function make(device: Device, check: Check, draw: Draw): Made {
  const { declaration } = operations.get(check.name)!;
  const arrays: ReferenceArray[] = [];
  const tensors: Tensor[] = [];
  const wanted: number[] = [];
  check.inputs.forEach((input, i) => {
    if (typeof input === 'number') {
      arrays.push(arrays[input]!);
      tensors.push(tensors[input]!);
      return;
    }
    const { data, shape, toTensor, isNumber } = makeInput(input, draw, i === 0 ? check.stored : undefined);
    const trainable = isNumber && !check.forwardOnly && !declaration.frozen?.includes(i);
    if (trainable) wanted.push(i);
    arrays.push({ data, shape });
    tensors.push(toTensor(device, trainable));
  });
  const shapes = arrays.map(({ shape }) => shape);
  const shape = declaration.shape(shapes, check.attributes);
  const weightValues = check.forwardOnly ? new Float32Array(sizeOf(shape)) : draw(sizeOf(shape));
  return { check, arrays, tensors, wanted, weights: tensor(device, weightValues, shape), weightValues };
}

/** An input of a check. What is held in fewer bits starts from what they can hold, and so does its reference. */
function makeInput(input: CaseInput, draw: Draw, stored: 'f16' | undefined) {
  const shape = 'shape' in input ? input.shape : input;
  const drawn = draw(sizeOf(shape));
  if ('below' in input) {
    const words = Uint32Array.from(drawn, (value) => ((value + 1) / 2) * input.below);
    const toTensor = (device: Device) => tensor(device, words, shape);
    return { data: Float64Array.from(words), shape, toTensor, isNumber: false };
  }
  const type = 'dtype' in input ? input.dtype : stored;
  const held = type ? unpack(pack(drawn, shape, type), shape, type) : drawn;
  const values = 'positive' in input ? held.map((value) => value + 1.5) : held;
  const toTensor = (device: Device, trainable: boolean) =>
    'dtype' in input
      ? quantise(device, drawn, shape, input.dtype)
      : tensor(device, values, shape, { trainable });
  return { data: Float64Array.from(values), shape, toTensor, isNumber: !('dtype' in input) };
}

/** Runs everything, and reads it back at once. @returns of each check the output, then the gradients of the wanted inputs */
async function compute(device: Device, made: readonly Made[]): Promise<Float32Array[][]> {
  const run = () =>
    made.map(({ check, tensors, wanted, weights }) =>
      scope(() => {
        const inputs = tensors.map((each, i) => (i === 0 && check.stored ? cast(each, check.stored) : each));
        const y = cast(operations.get(check.name)!.apply(inputs, check.attributes), 'f32');
        const parameters = wanted.map((i) => tensors[i]!);
        if (check.forwardOnly) return [y];
        return [y.detach(), ...gradients(total(multiply(y, weights)), parameters)];
      }),
    );
  await prepare(device, run);
  const results = scope(run);
  using all = gathered(device, results.flat());
  const values = await all.read();
  let at = 0;
  return results.map((each) =>
    each.map(({ size }) => {
      at += size;
      return values.subarray(at - size, at);
    }),
  );
}

/** One after the other in one tensor; they are disposed. */
function gathered(device: Device, every: readonly Tensor[]): Tensor {
  try {
    const all = empty(device, [every.reduce((sum, { size }) => sum + size, 0)]);
    let at = 0;
    for (const { storage, size } of every) {
      const [target, targetOffset] = [all.storage, 4 * at];
      device.run({ kind: 'copy', source: storage, sourceOffset: 0, target, targetOffset, bytes: 4 * size });
      at += size;
    }
    return all;
  } finally {
    for (const each of every) each.dispose();
  }
}

/** What is wrong with the results of a check. */
function faultsOf(device: Device, made: Made, [output, ...found]: Float32Array[], draw: Draw): string[] {
  const { check, arrays, wanted } = made;
  const { declaration } = operations.get(check.name)!;
  const shapes = JSON.stringify(arrays.map(({ shape }) => shape));
  const title = `${check.name} of ${shapes}${check.stored ? ` as ${check.stored}` : ''}`;
  const most = tolerancesOn(device, declaration, check);
  const faults: string[] = [];
  const error = worstError(output!, declaration.reference(arrays, check.attributes));
  if (!(error <= most.forward)) faults.push(`${title}: relative error ${error}`);
  found.forEach((gradient, i) => {
    const input = wanted[i]!;
    const worst = gradientError(made, input, gradient, draw);
    if (!(worst <= most.gradients))
      faults.push(`the gradient of ${title} for input ${input}: relative error ${worst}`);
  });
  return faults;
}

/** Operations whose products subgroup matrices compute, of operands rounded to f16: each is off by up to 2^-11. */
const PRODUCTS: readonly string[] = [
  'matmul',
  'linear',
  'unbiasedLinear',
  'loraLinear',
  'groupedLoraLinear',
  'vocabularyCrossEntropy',
];

function tolerancesOn(
  device: Device,
  { name, tolerance = 1e-5 }: OperationDeclaration<unknown>,
  { stored }: Check,
): { forward: number; gradients: number } {
  const rounding = stored ? 2 ** -11 : 0;
  if (device.subgroupMatrix && PRODUCTS.includes(name)) return { forward: 4e-3 + rounding, gradients: 2e-2 };
  return { forward: tolerance + rounding, gradients: 10 * tolerance + 4 * rounding };
}

/** Relative to the largest value; `max` passes NaN on. */
function worstError(actual: Float32Array, expected: Float64Array): number {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  return expected.reduce((worst, value, i) => Math.max(worst, Math.abs(actual[i]! - value)), 0) / scale;
}

/** In one direction alone what is wrong may hide behind what is small by chance. */
const DIRECTIONS = 2;

/**
 * How far a gradient is from what the reference says of it along random directions, all elements at once: two runs of the
 * reference for each, not for each element. Relative to the size that such a sum has with random signs.
 */
function gradientError(
  { check, arrays, weightValues }: Made,
  input: number,
  gradient: Float32Array,
  draw: Draw,
): number {
  const { declaration } = operations.get(check.name)!;
  const moving = arrays.map((array) => array === arrays[input]);
  const valueAt = (direction: Float32Array, step: number) => {
    const data = arrays[input]!.data.map((value, i) => value + step * direction[i]!);
    const moved = arrays.map((array, i) => (moving[i] ? { data, shape: array.shape } : array));
    const y = declaration.reference(moved, check.attributes);
    return y.reduce((sum, value, i) => sum + value * weightValues[i]!, 0);
  };
  const step = 1e-5;
  let worst = 0;
  for (let each = 0; each < DIRECTIONS; each++) {
    const direction = draw(gradient.length);
    const expected = (valueAt(direction, step) - valueAt(direction, -step)) / (2 * step);
    const terms = Float64Array.from(gradient, (value, i) => value * direction[i]!);
    const actual = terms.reduce((sum, term) => sum + term, 0);
    const size = Math.sqrt(terms.reduce((sum, term) => sum + term * term, 0));
    worst = Math.max(worst, Math.abs(actual - expected) / Math.max(size, 1e-3));
  }
  return worst;
}
