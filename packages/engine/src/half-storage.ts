import { sources } from '@s3t/kernels';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';
import type { KernelValues } from './pipeline.ts';
import type { Storage, TextureForm } from './storage.ts';

// Tensors stored as f16 in kernels that are written for f32. A kernel is given one by rewriting its text: the binding becomes
// an array of words, its loads and stores go through the functions of kernels/quantised/half. So arithmetic stays f32, an
// operation is written once, and a value that is stored is rounded once. Where that is impossible, f32 copies take the place.

/** A binding that a kernel declares as an array of f32 or vec4f. */
export interface FloatBinding {
  index: number;
  name: string;
  isWide: boolean;
  isWritten: boolean;
}

const DECLARATION =
  /@binding\((\d+)\) var<storage, (read|read_write)> (\w+): array<(\w+)>;|^alias (\w+) = (\w+);/gm;

/** The bindings of a kernel that hold floats. What is declared as words is the kernel's own affair. */
export function floatBindings(text: string, values: KernelValues = {}): FloatBinding[] {
  const aliases = new Map<string, string>();
  const found: FloatBinding[] = [];
  for (const [, index, mode, name, type, alias, target] of text.matchAll(DECLARATION)) {
    if (alias) {
      aliases.set(alias, String(values[alias] ?? target));
      continue;
    }
    const element = aliases.get(type!) ?? type;
    if (element === 'vec4f' || element === 'f32')
      found.push({
        index: Number(index),
        name: name!,
        isWide: element === 'vec4f',
        isWritten: mode === 'read_write',
      });
  }
  return found;
}

/**
 * The text of a kernel that takes the bindings of these numbers as f16.
 * @throws EngineError for a store that is no plain assignment to an element
 */
export function withHalves(
  kernel: string,
  text: string,
  halves: readonly number[],
  values?: KernelValues,
): string {
  const bindings = floatBindings(text, values).filter(({ index }) => halves.includes(index));
  const areSingle = bindings.some(isSingle);
  let result = text.replace(/\/\/(?! @unroll)[^\n]*|\/\*[\s\S]*?\*\//g, '');
  for (const binding of bindings) result = rewritten(kernel, result, binding);
  const added = [sources['quantised/half']!];
  // Directives stand before everything else.
  if (areSingle) added.push(sources['quantised/half_single']!.replace('enable f16;', ''));
  return [areSingle ? 'enable f16;\n' : '', result, ...added].join('\n');
}

/** Whether single elements of it are stored: two of them share a word. */
function isSingle({ isWide, isWritten }: FloatBinding): boolean {
  return isWritten && !isWide;
}

function rewritten(kernel: string, text: string, binding: FloatBinding): string {
  const { name, isWide, isWritten } = binding;
  const type = isWide ? 'vec2u' : isWritten ? 'f16' : 'u32';
  const declared = text
    .replace(new RegExp(`( ${name}: array<)\\w+>;`), `$1${type}>;`)
    .replaceAll(`arrayLength(&${name})`, type === 'u32' ? `(2u * arrayLength(&${name}))` : '$&');
  const load = (at: string) =>
    isWide
      ? `from_halves(${name}[${at}])`
      : isWritten
        ? `from_f16(${name}[${at}])`
        : `from_half(${name}[(${at}) / 2u], ${at})`;
  const stored = (value: string) => (isWide ? `to_halves(${value})` : `f16_of(half_bits(vec4f(${value})).x)`);
  const access = new RegExp(`(?<![.\\w])${name}\\[`);
  const through = (code: string): string => {
    const found = access.exec(code);
    if (!found) return code;
    const open = found.index + found[0].length;
    const close = closing(code, open);
    const before = code.slice(0, found.index);
    const at = through(code.slice(open, close));
    const after = code.slice(close + 1);
    const assignment = ASSIGNMENT.exec(after);
    if (!assignment) return before + load(at) + through(after);
    const end = after.indexOf(';');
    const [whole, part, operator] = assignment;
    if (part || operator)
      throw new EngineError(`kernel ${kernel}: ${name} cannot be f16: it is written by \`${whole.trim()}\``);
    return `${before}${name}[${at}] = ${stored(through(after.slice(whole.length, end).trim()))}${through(after.slice(end))}`;
  };
  return through(declared);
}

/** What follows an element that is written: a part of it, if only that is, and the operator that `=` is combined with. */
const ASSIGNMENT = /^((?:\.\w+|\[[^\]]*\])*)\s*([-+*/%&|^]?)=(?!=)/;

/** Where the bracket that was opened before `from` closes. */
function closing(text: string, from: number): number {
  let depth = 1;
  let at = from;
  for (; depth > 0; at++) depth += text[at] === '[' ? 1 : text[at] === ']' ? -1 : 0;
  return at - 1;
}

const known: Map<string, FloatBinding[]> = new Map();

function knownBindings(kernel: string, values?: KernelValues): FloatBinding[] {
  const key = `${kernel}|${values?.Element}`;
  const found = known.get(key) ?? floatBindings(sources[kernel] ?? '', values);
  known.set(key, found);
  return found;
}

const NO_HALVES = { halves: [], widened: false } as const;

/**
 * How a launch goes that binds tensors stored as f16: `direct` are the bindings that its kernel takes so; or, if `widened`, those
 * that must be f32 copies, because single elements are stored where the adapter cannot, or because what is over the binding
 * limit is computed in parts. The bits are the same.
 */
export function halfLaunch(
  device: Device,
  kernel: string,
  values: KernelValues | undefined,
  bindings: readonly (Storage | TextureForm)[],
): { halves: readonly number[]; widened: boolean } {
  // What is bound after the params is not among them, and always f32.
  const isHalf = (index: number) => {
    const bound = bindings[index];
    return bound !== undefined && 'halves' in bound && bound.halves > 0;
  };
  if (!bindings.some((_, index) => isHalf(index))) return NO_HALVES;
  const floats = knownBindings(kernel, values).filter(({ index }) => isHalf(index));
  const widened = !device.bindsWhole(bindings) || (!device.storesHalves && floats.some(isSingle));
  return { halves: floats.map(({ index }) => index), widened: widened && floats.length > 0 };
}

/** Launches a kernel on f32 copies of some of its bindings, which are f16. */
export function dispatchWidened(
  device: Device,
  kernel: string,
  call: Parameters<Device['dispatch']>[1],
  halves: readonly number[],
): void {
  const copies = new Map<Storage, Storage>();
  try {
    for (const index of halves) {
      const storage = call.bindings[index] as Storage;
      if (!copies.has(storage)) copies.set(storage, widenedCopy(storage, kernel));
    }
    // Everywhere: what a specialisation does not read has another binding's tensor in its place, and is cut like it.
    const bindings = call.bindings.map((binding) => copies.get(binding as Storage) ?? binding);
    device.dispatch(kernel, { ...call, bindings });
    const written = new Set(
      call.writes.filter((index) => halves.includes(index)).map((i) => call.bindings[i]),
    );
    for (const [storage, copy] of copies) if (written.has(storage)) narrow(copy, storage);
  } finally {
    for (const copy of copies.values()) copy.release();
  }
}

/** The f16 of a storage as f32, in memory of their own: release it. */
export function widenedCopy(storage: Storage, user: string): Storage {
  const { device, halves } = storage;
  const copy = device.allocate(4 * halves, `an f32 copy for ${user}`);
  try {
    device.dispatch('quantised/unpack', {
      values: { BITS: 16 },
      bindings: [storage, storage, copy],
      params: Uint32Array.of(halves, 0, 0, 0, 1),
      writes: [2],
      workgroups: gridOf(halves),
    });
  } catch (error) {
    copy.release();
    throw error;
  }
  return copy;
}

/** Rounds f32 to f16. */
export function narrow(full: Storage, storage: Storage): void {
  storage.device.dispatch('quantised/to_half', {
    bindings: [full, storage],
    params: Uint32Array.of(storage.halves),
    writes: [1],
    workgroups: gridOf(Math.ceil(storage.halves / 2)),
  });
}
