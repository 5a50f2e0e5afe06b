/** `length` values in [-1, 1) from a seed, the same for every engine. */
export function values(seed: number, length: number): Float32Array<ArrayBuffer> {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return Float32Array.from({ length }, next);
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
