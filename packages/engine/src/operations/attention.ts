import { ShapeError } from '../errors.ts';
import { operation, type ReferenceArray } from '../operation.ts';
import { empty, type Shape, type Tensor } from '../tensor.ts';

const LANES = 8;
const WIDEST_IN_SUBGROUP = 64;

interface Geometry {
  batch: number;
  queries: number;
  keys: number;
  heads: number;
  headWidth: number;
}

function geometry(q: Shape, k: Shape, heads: number): Geometry {
  const [batch, queries, width] = q as [number, number, number];
  return { batch, queries, keys: k[1]!, heads, headWidth: width / heads };
}

function launch(
  kernel: string,
  { batch, queries, keys, heads, headWidth }: Geometry,
  tensors: readonly Tensor[],
  writes: readonly number[],
  lanes: number,
): void {
  const { device } = tensors[0]!;
  const scale = new Uint32Array(new Float32Array([1 / Math.sqrt(headWidth)]).buffer)[0]!;
  // The subgroup forms keep two heads' rows in registers; wide heads would not fit.
  const bySubgroup = device.adapterClass === 'software' && headWidth <= WIDEST_IN_SUBGROUP;
  device.dispatch(`attention/${kernel}${bySubgroup ? '_subgroup' : ''}`, {
    values: { head_width4: headWidth / 4 },
    unroll: true,
    bindings: tensors.map((tensor) => tensor.storage),
    params: Uint32Array.of(queries, keys, heads, scale),
    writes,
    workgroups: [Math.ceil(lanes / LANES), batch * heads, 1],
  });
}

const applyAttention = operation<{ heads: number }>({
  name: 'attention',
  summary: 'softmax(q k^T / sqrt(head width)) v per head, rows [batch, token, head * width]',
  shape: ([q, k, v], { heads }) => {
    if (q!.length !== 3 || k!.length !== 3)
      throw new ShapeError(`attention: q [${q}] and k [${k}] must be [batch, token, width]`);
    if (k!.join() !== v!.join()) throw new ShapeError(`attention: k [${k}] and v [${v}] differ`);
    if (q![0] !== k![0]) throw new ShapeError(`attention: q [${q}] and k [${k}] differ in axis 0`);
    if (q![2] !== k![2]) throw new ShapeError(`attention: q [${q}] and k [${k}] differ in axis 2`);
    if (q![2]! % (4 * heads) !== 0)
      throw new ShapeError(`attention: width ${q![2]} is not ${heads} heads of a multiple of four`);
    return q!;
  },
  forward: ({ inputs: [q, k, v], attributes: { heads }, output }) => {
    const g = geometry(q!.shape, k!.shape, heads);
    const logSum = empty(q!.device, [g.batch, heads, g.queries]);
    launch('forward', g, [q!, k!, v!, output, logSum], [3, 4], g.queries);
    return [logSum];
  },
  gradient: ({ inputs: [q, k, v], attributes: { heads }, output: y, saved: [logSum], gradient: dy }) => {
    const { device } = q!;
    const g = geometry(q!.shape, k!.shape, heads);
    const dq = empty(device, q!.shape);
    const dk = empty(device, k!.shape);
    const dv = empty(device, k!.shape);
    const inner = empty(device, [g.batch, heads, g.queries]);
    launch('backward_query', g, [q!, k!, v!, y, logSum!, dy, dq, inner], [6, 7], g.queries);
    launch('backward_key', g, [q!, k!, v!, logSum!, inner, dy, dk, dv], [6, 7], g.keys);
    return [dq, dk, dv];
  },
  reference: ([q, k, v], { heads }) => attentionReference(q!, k!, v!, heads),
  cases: [
    {
      inputs: [
        [2, 3, 8],
        [2, 3, 8],
        [2, 3, 8],
      ],
      attributes: { heads: 2 },
    },
    {
      inputs: [
        [1, 1, 16],
        [1, 17, 16],
        [1, 17, 16],
      ],
      attributes: { heads: 1 },
    },
    {
      inputs: [
        [2, 17, 32],
        [2, 9, 32],
        [2, 9, 32],
      ],
      attributes: { heads: 2 },
    },
  ],
});

function attentionReference(
  q: ReferenceArray,
  k: ReferenceArray,
  v: ReferenceArray,
  heads: number,
): Float64Array {
  const { batch, queries, keys, headWidth } = geometry(q.shape, k.shape, heads);
  const width = heads * headWidth;
  const y = new Float64Array(q.data.length);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < queries; i++) {
        const at = (b * queries + i) * width + h * headWidth;
        const key = (j: number) => (b * keys + j) * width + h * headWidth;
        const scores = Array.from({ length: keys }, (_, j) => {
          let dot = 0;
          for (let d = 0; d < headWidth; d++) dot += q.data[at + d]! * k.data[key(j) + d]!;
          return dot / Math.sqrt(headWidth);
        });
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((a, w) => a + w, 0);
        weights.forEach((weight, j) => {
          for (let d = 0; d < headWidth; d++) y[at + d]! += (weight / total) * v.data[key(j) + d]!;
        });
      }
  return y;
}

/**
 * Multi-head attention of `q` [batch, queries, width] over `k`, `v` [batch, keys, width], scaled by 1 / sqrt(head width).
 * The head width is a multiple of four.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, heads: number): Tensor {
  return applyAttention([q, k, v], { heads });
}
