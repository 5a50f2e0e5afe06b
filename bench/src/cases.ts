/** One matrix product: C [m, n] = op(A) op(B) with an inner axis of k. */
export interface ProductCase {
  /** What the shape stands for. */
  note: string;
  m: number;
  n: number;
  k: number;
  /** NN, NT (B stored [n, k], a linear layer) or TN (A stored [k, m], the gradient of a weight). */
  layout: 'NN' | 'NT' | 'TN';
  /** Part of `--quick`. */
  quick?: boolean;
}

/** Rows of the small base model: 64 records of 17 tokens. */
const ROWS = 64 * 17;

export const cases: ProductCase[] = [
  { note: 'square', m: 512, k: 512, n: 512, layout: 'NN', quick: true },
  { note: 'ViT-base width', m: 512, k: 768, n: 768, layout: 'NN', quick: true },
  { note: 'narrow', m: 1024, k: 128, n: 128, layout: 'NN' },
  { note: 'query', m: ROWS, k: 64, n: 64, layout: 'NT', quick: true },
  { note: 'query, key, value', m: ROWS, k: 64, n: 192, layout: 'NT' },
  { note: 'MLP up', m: ROWS, k: 64, n: 256, layout: 'NT', quick: true },
  { note: 'MLP down', m: ROWS, k: 256, n: 64, layout: 'NT', quick: true },
  { note: 'LoRA down', m: ROWS, k: 64, n: 16, layout: 'NT', quick: true },
  { note: 'LoRA up', m: ROWS, k: 16, n: 64, layout: 'NT' },
  { note: 'gradient of LoRA down', m: 16, k: ROWS, n: 64, layout: 'TN', quick: true },
  { note: 'gradient of LoRA up', m: 64, k: ROWS, n: 16, layout: 'TN' },
  { note: 'head', m: 64, k: 64, n: 10, layout: 'NT' },
];

export const shapeOf = ({ m, k, n, layout }: ProductCase): string => `${m}x${k}x${n} ${layout}`;

export const flopsOf = ({ m, n, k }: ProductCase): number => 2 * m * n * k;

/** Values in [-1, 1), the same for every engine. */
export function operandsOf({ m, n, k }: ProductCase): {
  a: Float32Array<ArrayBuffer>;
  b: Float32Array<ArrayBuffer>;
} {
  let state = 1;
  const values = (length: number): Float32Array<ArrayBuffer> =>
    Float32Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 31 - 1;
    });
  return { a: values(m * k), b: values(k * n) };
}

/** Row-major [rows, columns] turned round. */
export function transposed(
  data: Float32Array<ArrayBuffer>,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j]!;
  return result;
}

/** What is wrong with a result, by a sample of its elements against float64; null when it is right. */
export function faultOf(problem: ProductCase, c: ArrayLike<number>): string | null {
  const { m, n, k, layout } = problem;
  const { a, b } = operandsOf(problem);
  if (c.length !== m * n) return `${c.length} values instead of ${m * n}`;
  for (let sample = 0; sample < 64; sample++) {
    const i = (sample * 7919) % m;
    const j = (sample * 104729) % n;
    let expected = 0;
    for (let l = 0; l < k; l++) {
      const left = a[layout === 'TN' ? l * m + i : i * k + l]!;
      const right = b[layout === 'NT' ? j * k + l : l * n + j]!;
      expected += left * right;
    }
    const actual = c[i * n + j]!;
    if (!(Math.abs(actual - expected) < 1e-3)) return `C[${i}, ${j}] is ${actual} instead of ${expected}`;
  }
  return null;
}
