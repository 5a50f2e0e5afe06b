import {
  byBatch,
  byRows,
  byWidths,
  type Cutter,
  cacheWrite,
  flat,
  gather,
  type Launch,
  placed,
  reduceAxis,
  rowwise,
  scatter,
  strided,
  unpack,
} from './cutters.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';

/**
 * Cuts the launch of a kernel some of whose tensors are over the binding limit into launches that bind windows of them. A part
 * computes its share exactly as the whole would: no bit differs. How each kernel is cut is written down below; one
 * that is not listed, or whose single rows are over the limit, is refused.
 * @throws EngineError naming the kernel and the limit
 */
export function inParts(kernel: string, launch: Launch, limit: number): Launch[] {
  const parts = KERNELS[kernel]?.(launch, limit);
  if (parts) return parts;
  const largest = Math.max(...launch.bindings.map((binding) => ('bytes' in binding ? binding.bytes : 0)));
  throw new EngineError(
    `${kernel}: a tensor of ${largest} bytes is over this adapter's binding limit of ${limit}, and this cannot be computed in parts`,
  );
}

/** The result of a kernel whose operands take all strides of an axis. */
const LAST = { offset: 31, stride: 28, step: 1 };

/** What attention's forward kernels bind. */
const ATTEND = byBatch({ queries: [0, 6], keys: [1, 2], rows: 7, start: 4, cacheRows: 5 });

const KERNELS: Record<string, Cutter> = {
  'attention/backward_key': byBatch({ queries: [0, 5], keys: [1, 2, 6, 7], rows: 4 }),
  'attention/backward_query': byBatch({ queries: [0, 4, 5, 6], keys: [1, 2], rows: 7 }),
  'attention/cache_write': cacheWrite,
  'attention/forward': ATTEND,
  'attention/forward_subgroup': ATTEND,
  'attention/forward_tiled': ATTEND,
  'attention/forward_wide': ATTEND,
  'attention/row_products': (launch, limit) => {
    const [count, queries, heads] = launch.params as unknown as [number, number, number];
    const width = 16 * queries * heads * (launch.values!.head_width4 as number);
    return byRows(launch, limit, {
      count: count / queries / heads,
      bytes: { 0: width, 1: width, 2: 8 * queries * heads },
      params: (params, _first, rows) => params.set([rows * queries * heads]),
    });
  },
  'attention/rope': byWidths(([count, , heads, half4]) => ({
    rows: count! / (heads! * half4!),
    perRow: heads! * half4!,
    first: 5,
    bytes: { 0: 32 * heads! * half4!, 3: 32 * heads! * half4! },
  })),
  'elementwise/affine': flat([0, 1]),
  'elementwise/binary': flat([0, 1, 2]),
  'elementwise/broadcast': strided([
    { offset: 2, stride: 1 },
    { offset: 3, stride: 2 },
    { offset: 28, stride: 3 },
  ]),
  'elementwise/compare': strided([{ offset: 28, stride: 1 }, { offset: 29, stride: 2 }, LAST]),
  'elementwise/fill': flat([0]),
  'elementwise/iota': flat([0], (params, first) => {
    params[0] = 4 * first;
  }),
  'elementwise/swiglu': flat([0, 1, 2]),
  'elementwise/swiglu_backward': flat([0, 1, 2, 3, 4]),
  'elementwise/unary': flat([0, 1]),
  'elementwise/where': strided([
    { offset: 28, stride: 1 },
    { offset: 29, stride: 2 },
    { offset: 30, stride: 3 },
    LAST,
  ]),
  'embedding/backward': scatter,
  'embedding/lookup': gather,
  'hash/words': (launch, limit) =>
    byRows(launch, limit, {
      count: launch.params![0]!,
      bytes: { 0: 4 },
      params: (params, first, rows) => params.set([rows, params[1]!, first]),
      workgroups: () => [...launch.workgroups],
    }),
  'layout/copy': strided([
    { offset: 2, stride: 1 },
    { offset: 3, stride: 2 },
  ]),
  'layout/gather': gather,
  'layout/take': byWidths(([count, width, taken]) => ({
    rows: count! / taken!,
    perRow: taken,
    bytes: { 0: 4 * width!, 1: 4 * taken!, 2: 4 * taken! },
  })),
  'layout/take_backward': byWidths(([count, width, taken]) => ({
    rows: count! / width!,
    perRow: width,
    bytes: { 0: 4 * taken!, 1: 4 * taken!, 2: 4 * width! },
  })),
  'loss/cross_entropy': rowwise([0], [1, 2, 3]),
  'loss/cross_entropy_backward': rowwise([0, 5], [1, 2]),
  'loss/squared_error': rowwise([0, 1], [2, 3]),
  'loss/squared_error_backward': byWidths(([count, width]) => ({
    rows: count! / width!,
    perRow: width,
    bytes: { 0: 4 * width!, 1: 4 * width!, 2: 4, 5: 4 * width! },
  })),
  'loss/vocabulary_backward': byWidths(([count, width4]) => ({
    rows: count! / width4!,
    perRow: width4,
    bytes: { 0: 16 * width4!, 1: 4, 2: 4, 5: 4 },
  })),
  'loss/vocabulary_parts': byWidths(([rows, width4, , , , , parts]) => ({
    rows: rows!,
    bytes: { 0: 16 * width4!, 1: 4, 2: 8 * parts!, 3: 4 },
  })),
  'loss/vocabulary_rows': byWidths(([rows, parts]) => ({
    rows: rows!,
    bytes: { 0: 8 * parts!, 1: 4, 2: 4, 3: 4, 4: 4 },
  })),
  'matmul/panel': placed,
  'matmul/activation_backward': flat([0, 1, 2]),
  'norm/layer_norm': rowwise([0, 3]),
  'norm/layer_norm_narrow': rowwise([0, 3]),
  'norm/layer_norm_backward': rowwise([0, 2, 3]),
  'norm/layer_norm_backward_narrow': rowwise([0, 2, 3]),
  'norm/rms_norm': rowwise([0, 2]),
  'norm/rms_norm_narrow': rowwise([0, 2]),
  'norm/rms_norm_backward': rowwise([0, 2, 3]),
  'norm/rms_norm_backward_narrow': rowwise([0, 2, 3]),
  'norm/softmax': rowwise([0, 1]),
  'norm/softmax_wide': rowwise([0, 1]),
  'norm/softmax_backward_wide': rowwise([0, 1, 2]),
  'norm/softmax_backward': rowwise([0, 1, 2]),
  'optimiser/accumulate': flat([0, 1]),
  'optimiser/adamw': flat([0, 1, 2, 3]),
  'optimiser/sgd': flat([0, 1, 2]),
  'quantised/to_half': (launch, limit) =>
    byRows(launch, limit, {
      count: Math.ceil(launch.params![0]! / 2),
      bytes: { 0: 8, 1: 4 },
      params: (params, first, rows) => params.set([Math.min(2 * rows, params[0]! - 2 * first)]),
    }),
  'quantised/unpack': unpack,
  'random/draw': flat([1], (params, first, rows) => params.set([rows, params[1]!, first])),
  'random/dropout': flat([0, 2], (params, first) => {
    params[0] = first;
  }),
  'reduce/axis': reduceAxis,
  'reduce/top': (launch, limit) => {
    const [rows, width, candidates, part] = launch.params as unknown as [number, number, number, number];
    const { TOP, FIRST } = launch.values as { TOP: number; FIRST: boolean };
    const parts = Math.ceil(candidates / part);
    const picks = (parts - 1) * TOP + Math.min(TOP, candidates - (parts - 1) * part);
    return byRows(launch, limit, {
      count: rows,
      bytes: { 0: 4 * width, 1: 4 * (FIRST ? width : candidates), 2: 4 * picks },
      params: (params, _first, share) => params.set([share]),
      workgroups: (share) => gridOf(share * parts, 8),
    });
  },
  'check/finite': (launch, limit) =>
    byRows(launch, limit, {
      count: launch.params![0]!,
      bytes: { 0: launch.values?.HALF ? 2 : 4 },
      params: (params, _first, rows) => {
        params[0] = rows;
      },
    }),
};
