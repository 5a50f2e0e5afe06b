import type { Window } from './commands.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';
import type { KernelValues } from './pipeline.ts';
import type { Storage, TextureForm } from './storage.ts';

/** A kernel's bindings, parameters and grid: what changes from part to part. */
export interface Launch {
  values?: KernelValues;
  bindings: readonly (Storage | Window | TextureForm)[];
  params?: Uint32Array<ArrayBuffer>;
  workgroups: readonly [number, number, number];
}

/** Binding offsets are multiples of this (WebGPU's default `minStorageBufferOffsetAlignment`). */
const ALIGNMENT = 256;

/** Cuts a launch so that every binding is within the limit; null where that is impossible. */
export type Cutter = (launch: Launch, limit: number) => Launch[] | null;

/** What is cut: rows, how many bytes of each cut binding belong to one (by its index), and the parameters of a part. */
interface Rows {
  count: number;
  bytes: Record<number, number>;
  params?: (params: Uint32Array<ArrayBuffer>, first: number, rows: number) => void;
  /** Where the first row lies in each cut binding, in bytes. Default 0. */
  starts?: Record<number, number>;
  /** The parameter that says where a cut binding begins, in elements. Without them a window can only begin on a row. */
  offsets?: Record<number, number>;
  /** The grid of a part. Default: its share of the whole grid, which counts invocations in a line. */
  workgroups?: (rows: number) => [number, number, number];
}

/** Cuts by rows. Null where that is impossible. */
export function byRows(launch: Launch, limit: number, { count, bytes, ...how }: Rows): Launch[] | null {
  const { params, starts = {}, offsets } = how;
  const widths = Object.values(bytes);
  const widest = Math.max(...widths);
  // The fewest rows after which every cut binding is at a place where a window may begin.
  const step = offsets
    ? 1
    : Math.max(...widths.map((width) => ALIGNMENT / greatestCommonDivisor(width, ALIGNMENT)));
  const most = offsets ? limit - ALIGNMENT : limit;
  const rows = count * widest <= most ? count : Math.floor(most / widest / step) * step;
  const isCut = (index: number) => bytes[index] !== undefined;
  if (rows <= 0 || launch.bindings.some((b, index) => !isCut(index) && 'bytes' in b && b.bytes > limit))
    return null;
  const groups = launch.workgroups[0] * launch.workgroups[1];
  const { workgroups = (share: number) => gridOf(Math.ceil((groups * share) / count), 1) } = how;
  return Array.from({ length: Math.ceil(count / rows) }, (_, part) => {
    const first = part * rows;
    const share = Math.min(rows, count - first);
    const own = launch.params?.slice();
    if (own) params?.(own, first, share);
    const bindings = launch.bindings.map((binding, index) => {
      if (!isCut(index)) return binding;
      const start = (starts[index] ?? 0) + first * bytes[index]!;
      const from = Math.floor(start / ALIGNMENT) * ALIGNMENT;
      if (offsets) own![offsets[index]!] = (start - from) / 4;
      return windowOf(binding, from, start - from + share * bytes[index]!);
    });
    return { bindings, params: own, workgroups: workgroups(share) };
  });
}

/** Elementwise, 16 bytes an element of four: all bindings named are cut alike. */
export const flat =
  (cut: readonly number[], params?: Rows['params']): Cutter =>
  (launch, limit) => {
    const { bytes } = launch.bindings[cut[0]!] as Storage;
    return byRows(launch, limit, {
      count: bytes / 16,
      bytes: Object.fromEntries(cut.map((index) => [index, 16])),
      params,
    });
  };

/** Rows of `params[1]` elements, `params[0]` of them; bindings in `single` have one element a row. */
export const rowwise =
  (cut: readonly number[], single: readonly number[] = []): Cutter =>
  (launch, limit) => {
    const [count, width] = launch.params as unknown as [number, number];
    return byRows(launch, limit, {
      count,
      bytes: Object.fromEntries([
        ...cut.map((index) => [index, 4 * width]),
        ...single.map((index) => [index, 4]),
      ]),
      params: (params, _first, rows) => {
        params[0] = rows;
      },
    });
  };

/** By rows of unlike widths: `widths` tells, from the parameters, the bytes of a row in each cut binding, and how many there are. */
export const byWidths =
  (
    widths: (params: Uint32Array) => {
      rows: number;
      perRow?: number;
      /** The parameter that says which row is the first, if there is one. */
      first?: number;
      bytes: Record<number, number>;
    },
  ): Cutter =>
  (launch, limit) => {
    const { rows, perRow = 1, first: firstAt, bytes } = widths(launch.params!);
    return byRows(launch, limit, {
      count: rows,
      bytes,
      params: (params, first, share) => {
        params[0] = share * perRow;
        if (firstAt !== undefined) params[firstAt] = first;
      },
    });
  };

/** x [outer, axis, inner] to y [outer, parts, inner]: by outer rows, or, if one is over the limit, each by its parts. */
export const reduceAxis: Cutter = (launch, limit) => {
  const [outer, axis, inner, part] = launch.params as unknown as [number, number, number, number];
  const parts = Math.ceil(axis / part);
  const [from, to] = [4 * axis * inner, 4 * parts * inner];
  const offsets = { 0: 4, 1: 5 };
  const whole = byRows(launch, limit, {
    count: outer,
    bytes: { 0: from, 1: to },
    offsets,
    params: (params, _first, rows) => params.set([rows]),
    workgroups: (rows) => gridOf(rows * parts * inner),
  });
  if (whole) return whole;
  const found = Array.from({ length: outer }, (_, row) =>
    byRows(launch, limit, {
      count: parts,
      bytes: { 0: 4 * part * inner, 1: 4 * inner },
      offsets,
      starts: { 0: row * from, 1: row * to },
      params: (params, first, rows) => params.set([1, Math.min(rows * part, axis - first * part)]),
      workgroups: (rows) => gridOf(rows * inner),
    }),
  );
  return found.every((each) => each !== null) ? found.flat() : null;
};

/** Bytes of the elements that a kernel on rows of a table walks. */
const elementBytes = ({ values }: Launch): number => (values?.Element === 'f32' ? 4 : 16);

/** Rows of a table by index: by what is gathered and, for each, by rows of the table. */
export const gather: Cutter = (launch, limit) => {
  const [count, width, tableRows] = launch.params as unknown as [number, number, number];
  const rowBytes = elementBytes(launch) * width;
  const byTable = byRows({ ...launch, bindings: [launch.bindings[0]!] }, limit, {
    count: tableRows,
    bytes: { 0: rowBytes },
    params: (params, first) => params.set([first], 3),
  });
  const found = byTable?.map(({ bindings: [table], params }) => {
    const whole = { ...launch, bindings: [table!, ...launch.bindings.slice(1)], params };
    return byRows(whole, limit, {
      count,
      bytes: { 1: 4, 2: rowBytes },
      params: (own, _first, rows) => own.set([rows]),
    });
  });
  return found?.every((each) => each !== null) ? found.flat() : null;
};

/** The gradient for a table: by rows of the table, each launch walks all positions. */
export const scatter: Cutter = (launch, limit) =>
  byRows(launch, limit, {
    count: launch.params![2]!,
    bytes: { 3: elementBytes(launch) * launch.params![1]! },
    params: (params, first) => params.set([first], 3),
    workgroups: () => [...launch.workgroups],
  });

/** What attention's kernels are told where each batch row names the row of the cache that its keys are. */
export const NAMED = 2;

/**
 * Attention by batch rows: which bindings hold something per query, per key, and numbers per query and head. Mask, starts and
 * rows of a cache have places of their own, where a kernel without them is given the queries.
 */
export const byBatch =
  (places: {
    queries: readonly number[];
    keys: readonly number[];
    rows: number;
    start?: number;
    cacheRows?: number;
  }): Cutter =>
  (launch, limit) => {
    const [queries, keys, heads, , , keyHeads, cached] = [...launch.params!] as [
      queries: number,
      keys: number,
      heads: number,
      scale: number,
      offset: number,
      keyHeads: number,
      cached?: number,
    ];
    const { head_width4, MASKED } = launch.values!;
    const perQuery = 16 * queries * heads * (head_width4 as number);
    const perKey = 16 * keys * keyHeads * (head_width4 as number);
    const [across, down, batch] = launch.workgroups;
    const workgroups = (rows: number): [number, number, number] => [across, down, rows];
    const cutKeys = Object.fromEntries(places.keys.map((index) => [index, perKey]));
    const first = (params: Uint32Array, from: number) => params.set([from], 7);
    // Any row of the batch may ask for any of the keys: each launch sees all rows, and takes those whose keys it has.
    if (cached === NAMED)
      return byRows(launch, limit, {
        count: (launch.bindings[places.keys[0]!] as Storage).bytes / perKey,
        workgroups: () => workgroups(batch),
        bytes: cutKeys,
        params: first,
      });
    const together = byRows(launch, limit, {
      count: batch,
      workgroups,
      bytes: {
        ...Object.fromEntries(places.queries.map((index) => [index, perQuery])),
        ...cutKeys,
        3: MASKED ? 4 * keys : perQuery,
        [places.rows]: 8 * queries * heads,
        ...(places.start === undefined ? {} : { [places.start]: cached ? 4 : perQuery }),
        ...(places.cacheRows === undefined ? {} : { [places.cacheRows]: perQuery }),
      },
    });
    // A few tokens over a large cache: all but keys and values is small, and its rows seldom begin where a window may.
    if (together || cached === undefined) return together;
    return byRows(launch, limit, { count: batch, workgroups, bytes: cutKeys, params: first });
  };

/** Rows of a cache and of what is written into it: launches for each window of both. */
export const cacheWrite: Cutter = (launch, limit) => {
  const [cache, ...others] = launch.bindings as [Storage, Storage, Storage];
  const [count, , , width4] = launch.params as unknown as [number, number, number, number];
  const rowBytes = 16 * width4;
  const windows = byRows({ ...launch, bindings: [cache] }, limit, {
    count: cache.bytes / rowBytes,
    bytes: { 0: rowBytes },
    params: (params, first) => params.set([first], 4),
  });
  const parts = windows?.map(({ bindings, params }) =>
    byRows({ ...launch, bindings: [...bindings, ...others], params }, limit, {
      count: count / width4,
      bytes: { 1: rowBytes },
      params: (own, first, rows) => {
        own[0] = rows * width4;
        own[5] = first;
      },
    }),
  );
  return parts?.every((each) => each !== null) ? parts.flat() : null;
};

/** A product of matrices that lie within larger ones: a window of C is enough, A and B are textures. */
export const placed: Cutter = (launch, limit) => {
  const params = launch.params!;
  const [m, n] = params as unknown as [number, number];
  const [start, row, head, batch, heads] = params.slice(12) as unknown as [
    number,
    number,
    number,
    number,
    number,
  ];
  const batchRows = Math.ceil(launch.workgroups[2] / heads);
  const end = start + (batchRows - 1) * batch + (heads - 1) * head + (m - 1) * row + n / 4;
  const from = Math.floor((16 * start) / ALIGNMENT) * ALIGNMENT;
  const isOver = (binding: Launch['bindings'][number]) => 'bytes' in binding && binding.bytes > limit;
  if (16 * end - from > limit || launch.bindings.some((each, index) => index !== 2 && isOver(each)))
    return null;
  const own = params.slice();
  own[12] = start - from / 16;
  const bindings = launch.bindings.with(2, windowOf(launch.bindings[2]!, from, 16 * end - from));
  return [{ bindings, params: own, workgroups: launch.workgroups }];
};

/** A packed weight as f32: by elements of the result; levels and scales lie in windows of their own. */
export const unpack: Cutter = (launch, limit) => {
  const [count, first, , scales, group] = launch.params as unknown as [
    number,
    number,
    number,
    number,
    number,
  ];
  const perWord = 32 / (launch.values!.BITS as number);
  // Levels and scales are never wider than their elements; they begin and end within 256 bytes of where windows may.
  const most = Math.floor((limit - 2 * ALIGNMENT) / ALIGNMENT) * (ALIGNMENT / 4);
  if (most <= 0) return null;
  const [packed, , y] = launch.bindings;
  const words = (from: number, to: number): [start: number, window: Window] => {
    const start = Math.floor((4 * from) / ALIGNMENT) * ALIGNMENT;
    return [start / 4, windowOf(packed!, start, 4 * (to + 1) - start)];
  };
  return Array.from({ length: Math.ceil(count / most) }, (_, part) => {
    const share = Math.min(most, count - part * most);
    const from = first + part * most;
    const last = from + share - 1;
    const [levelsAt, levels] = words(Math.floor(from / perWord), Math.floor(last / perWord));
    const isScaled = perWord > 2;
    const [scalesAt, factors] = isScaled
      ? words(scales + Math.floor(from / group), scales + Math.floor(last / group))
      : [0, levels];
    return {
      bindings: [levels, factors, windowOf(y!, 4 * part * most, 4 * share)],
      params: Uint32Array.of(share, from, -levelsAt, scales - scalesAt, group),
      workgroups: gridOf(share),
    };
  });
};

/** A block of up to six axes, each with an extent and a stride per operand, walked by the kernels that move or broadcast. */
interface Block {
  extents: number[];
  /** Where each operand's share begins, in elements. */
  starts: number[];
}

/** Halves a block until what each operand touches fits a binding; null where a single element does not. */
function blocksWithin(block: Block, strides: readonly (readonly number[])[], limit: number): Block[] | null {
  const span = (operand: number, axis: number) => (block.extents[axis]! - 1) * strides[operand]![axis]!;
  const axes = block.extents.map((_, axis) => axis);
  const over = strides.findIndex((_, operand) => {
    const [from, to] = reach(
      block.starts[operand]!,
      axes.reduce((sum, axis) => sum + span(operand, axis), 1),
    );
    return to - from > limit;
  });
  if (over < 0) return [block];
  // The axis along which the operand that does not fit reaches farthest.
  const axis = axes.reduce((best, each) => (span(over, each) > span(over, best) ? each : best), 0);
  const extent = block.extents[axis]!;
  if (extent < 2) return null;
  const half = Math.floor(extent / 2);
  const halves: Block[] = [
    { ...block, extents: block.extents.with(axis, half) },
    {
      extents: block.extents.with(axis, extent - half),
      starts: block.starts.map((start, operand) => start + half * strides[operand]![axis]!),
    },
  ];
  const found = halves.map((each) => blocksWithin(each, strides, limit));
  return found[0] && found[1] ? [...found[0], ...found[1]] : null;
}

/** The bytes from where a window may begin to the end of what is touched, in whole elements of four. */
function reach(start: number, elements: number): [from: number, to: number] {
  return [Math.floor((4 * start) / ALIGNMENT) * ALIGNMENT, Math.ceil((start + elements) / 4) * 16];
}

/**
 * A kernel whose parameters are [count, rank, ..., per axis: extent and strides]; `operands` says at which words the offset
 * and the stride of each binding lie, the latter counted from the first axis, `step` (four) from axis to axis.
 */
export const strided =
  (operands: readonly { offset: number; stride: number; step?: number }[]): Cutter =>
  (launch, limit) => {
    const params = launch.params!;
    const axes = Array.from({ length: params[1]! }, (_, axis) => 4 + 4 * axis);
    const strides = operands.map(({ stride, step = 4 }) =>
      axes.map((_, axis) => params[4 + step * axis + stride]!),
    );
    const whole = {
      extents: axes.map((at) => params[at]!),
      starts: operands.map(({ offset }) => params[offset]!),
    };
    const blocks = blocksWithin(whole, strides, limit);
    return (
      blocks?.map(({ extents, starts }) => {
        const own = params.slice();
        const count = extents.reduce((product, extent) => product * extent, 1);
        own[0] = count;
        axes.forEach((at, axis) => {
          own[at] = extents[axis]!;
        });
        const bindings = operands.map(({ offset }, index) => {
          const elements = extents.reduce((sum, n, axis) => sum + (n - 1) * strides[index]![axis]!, 1);
          const [from, to] = reach(starts[index]!, elements);
          own[offset] = starts[index]! - from / 4;
          return windowOf(launch.bindings[index]!, from, to - from);
        });
        return { bindings, params: own, workgroups: gridOf(count) };
      }) ?? null
    );
  };

function windowOf(binding: Storage | Window | TextureForm, offset: number, bytes: number): Window {
  if ('texture' in binding) throw new EngineError('a texture form has no windows');
  const [whole, start] = 'whole' in binding ? [binding.whole, binding.offset] : [binding, 0];
  return { whole, offset: start + offset, bytes: Math.min(bytes, binding.bytes - offset) };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
