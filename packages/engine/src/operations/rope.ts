import { NUMBERS } from '../data-type.ts';
import type { Device } from '../device.ts';
import { EngineError, ShapeError } from '../errors.ts';
import { type Apply, gridOf, operation } from '../operation.ts';
import { cosineAndSine, exponential, logarithm } from '../portable-math.ts';
import { type Shape, type Tensor, tensor } from '../tensor.ts';

/** Every frequency divided by the factor (`rope_type` "linear" in `transformers`). */
export interface LinearScaling {
  factor: number;
}

/** How Llama 3.1 and later stretch the slow frequencies over a longer context (`rope_type` "llama3" in `transformers`). */
export interface Llama3Scaling extends LinearScaling {
  lowFrequencyFactor: number;
  highFrequencyFactor: number;
  /** `original_max_position_embeddings` */
  originalPositions: number;
}

export interface RopeOptions {
  /** A multiple of eight. */
  headWidth: number;
  /** How many positions the table covers. */
  positions: number;
  /** The base of the frequencies. Default 10,000. */
  theta?: number;
  scaling?: LinearScaling | Llama3Scaling;
}

/** Radians a position turns each pair of a head by: theta^(-2 i / headWidth), scaled. */
export function ropeFrequencies({ headWidth, theta = 10_000, scaling }: RopeOptions): Float64Array {
  const rate = logarithm(theta) / headWidth;
  const plain = Float64Array.from({ length: headWidth / 2 }, (_, i) => exponential(-2 * i * rate));
  return scaling ? plain.map((frequency) => scaled(frequency, scaling)) : plain;
}

/** Fails for what would make an angle NaN, or larger than cosines are computed of. */
function checkScaling(scaling: LinearScaling | Llama3Scaling): void {
  const { factor } = scaling;
  if (!(factor >= 1))
    throw new EngineError(`ropeTable: scaling.factor ${factor} is not a number of 1 or more`);
  if (!('originalPositions' in scaling)) return;
  const { lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  if (!(high > low))
    throw new EngineError(
      `ropeTable: scaling.highFrequencyFactor ${high} is not above lowFrequencyFactor ${low}`,
    );
  if (!(originalPositions > 0))
    throw new EngineError(`ropeTable: scaling.originalPositions ${originalPositions} is not above 0`);
}

/** Fast pairs keep their frequency, slow ones are divided by the factor, those between are blended. */
function scaled(frequency: number, scaling: LinearScaling | Llama3Scaling): number {
  if (!('originalPositions' in scaling)) return frequency / scaling.factor;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  const turns = (originalPositions * frequency) / (2 * Math.PI);
  const share = Math.min(1, Math.max(0, (turns - low) / (high - low)));
  return ((1 - share) * frequency) / factor + share * frequency;
}

/**
 * Cosines and sines for `rope`, computed in float64 on the host: [positions, headWidth], per position the cosines of a head's
 * pairs, then their sines.
 * @throws EngineError when an option is out of its range
 */
export function ropeTable(device: Device, options: RopeOptions): Tensor {
  const { headWidth, positions, theta = 10_000 } = options;
  if (!Number.isInteger(headWidth) || headWidth < 8 || headWidth % 8 !== 0)
    throw new EngineError(`ropeTable: headWidth ${headWidth} is not a multiple of eight`);
  if (!Number.isInteger(positions) || positions < 1 || positions > 2 ** 20)
    throw new EngineError(`ropeTable: positions ${positions} is not in 1..${2 ** 20}`);
  if (!(theta > 0 && Number.isFinite(theta)))
    throw new EngineError(`ropeTable: theta ${theta} is not a positive number`);
  if (options.scaling) checkScaling(options.scaling);
  const values = new Float32Array(positions * headWidth);
  ropeFrequencies(options).forEach((frequency, i) => {
    for (let position = 0; position < positions; position++) {
      const [cosine, sine] = cosineAndSine(position * frequency);
      values[position * headWidth + i] = cosine;
      values[position * headWidth + headWidth / 2 + i] = sine;
    }
  });
  return tensor(device, values, [positions, headWidth], { constant: true });
}

function headsOf(x: Shape, table: Shape): { tokens: number; heads: number; half: number } {
  return { tokens: x[1]!, heads: x[2]! / table[1]!, half: table[1]! / 2 };
}

const applyRope: Apply<{ inverse: boolean }> = operation<{ inverse: boolean }>({
  name: 'rope',
  summary: 'rotary position embedding, half-rotation layout, by a table of cosines and sines',
  dtypes: [NUMBERS, 'f32', 'u32'],
  shape: ([x, table, start]) => {
    if (x!.length !== 3) throw new ShapeError(`rope: x [${x}] must be [batch, token, width]`);
    if (table!.length !== 2 || table![1]! % 8 !== 0)
      throw new ShapeError(
        `rope: table [${table}] must be [positions, head width], a multiple of eight wide`,
      );
    if (x![2]! % table![1]! !== 0)
      throw new ShapeError(`rope: axis 2 of x [${x}] is not whole heads of axis 1 of table [${table}]`);
    if (x![1]! > table![0]!)
      throw new ShapeError(`rope: axis 1 of x [${x}] has more tokens than table [${table}] has positions`);
    if (start && start.join() !== `${x![0]}`)
      throw new ShapeError(`rope: start [${start}] is not [batch] of x [${x}]`);
    return x!;
  },
  forward: ({ inputs: [x, table, start], attributes: { inverse }, output }) => {
    const { tokens, heads, half } = headsOf(x!.shape, table!.shape);
    x!.device.dispatch('attention/rope', {
      values: { STARTED: start !== undefined, INVERSE: inverse },
      bindings: [x!, table!, start ?? table!, output].map((each) => each.storage),
      params: Uint32Array.of(x!.size / 8, tokens, heads, half / 4, table!.shape[0]!, 0),
      writes: [3],
      workgroups: gridOf(x!.size / 8),
    });
  },
  gradient: ({ inputs: [, ...rest], attributes: { inverse }, gradient }) => [
    applyRope([gradient, ...rest], { inverse: !inverse }),
    null,
    null,
  ],
  reference: ([x, table, start], { inverse }) => {
    const { tokens, heads, half } = headsOf(x!.shape, table!.shape);
    return x!.data.map((value, at) => {
      const i = at % (2 * half);
      const row = Math.floor(at / (2 * half * heads));
      const position = (start?.data[Math.floor(row / tokens)] ?? 0) + (row % tokens);
      const turn = position * 2 * half + (i % half);
      const partner = i < half ? x!.data[at + half]! : x!.data[at - half]!;
      const sine = (inverse ? -1 : 1) * (i < half ? -1 : 1) * table!.data[turn + half]!;
      return value * table!.data[turn]! + partner * sine;
    });
  },
  frozen: [1],
  cases: [
    {
      inputs: [
        [2, 3, 16],
        [3, 8],
      ],
      attributes: { inverse: false },
    },
    {
      inputs: [
        [1, 1, 8],
        [9, 8],
      ],
      attributes: { inverse: true },
    },
    { inputs: [[3, 5, 40], [20, 40], { shape: [3], below: 16 }], attributes: { inverse: false } },
  ],
});

/**
 * Rotary position embedding (Su et al. 2021) of queries or keys, in the half-rotation layout of `transformers`.
 * @param x [batch, tokens, heads * headWidth] @param table what `ropeTable` makes
 * @param start u32 [batch]: the position of each batch row's first token. Default 0 for all. Positions past the table's last
 *   count as its last.
 * @throws ShapeError when they do not fit
 */
export function rope(x: Tensor, table: Tensor, start?: Tensor): Tensor {
  return applyRope(start ? [x, table, start] : [x, table], { inverse: false });
}
