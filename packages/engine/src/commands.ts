import type { Pipeline } from './pipeline.ts';
import type { Storage, TextureForm } from './storage.ts';

/** A stretch of a storage that is bound by itself: see parts.ts. The offset is a multiple of 256. */
export interface Window {
  whole: Storage;
  offset: number;
  bytes: number;
}

/** What a kernel binds, in the order of its bindings. */
export type Binding = Storage | Window | TextureForm | { uniform: GPUBuffer };

/** One kernel launch. */
export interface Dispatch {
  kind: 'dispatch';
  pipeline: Pipeline;
  bindings: readonly Binding[];
  /** Indices into `bindings` that the kernel writes. */
  writes: readonly number[];
  workgroups: readonly [number, number, number];
}

/** Zeroes a storage. */
export interface Clear {
  kind: 'clear';
  target: Storage;
}

/** Copies bytes between storages. */
export interface Copy {
  kind: 'copy';
  source: Storage;
  sourceOffset: number;
  target: Storage;
  targetOffset: number;
  bytes: number;
}

/** Copies a storage, byte by byte, into its texture form. */
export interface CopyToTexture {
  kind: 'copy-to-texture';
  source: Storage;
  form: TextureForm;
  bytesPerRow: number;
  parts: readonly { offset: number; y: number; width: number; height: number }[];
}

export type Command = Dispatch | Clear | Copy | CopyToTexture;

/** Those of a list of commands, in its order; null where a command is no launch. */
export type BindGroups = readonly (GPUBindGroup | null)[];

const isTexture = (binding: Binding): binding is TextureForm => 'texture' in binding;
const isWindow = (binding: Binding): binding is Window => 'whole' in binding;
const isUniform = (binding: Binding): binding is { uniform: GPUBuffer } => 'uniform' in binding;

/** The storages a command reads or writes. */
export function storagesOf(command: Command): Storage[] {
  if (command.kind === 'clear') return [command.target];
  if (command.kind === 'copy') return [command.source, command.target];
  if (command.kind === 'copy-to-texture') return [command.source];
  return storagesAmong(command.bindings);
}

function storagesAmong(bindings: readonly Binding[]): Storage[] {
  return bindings.flatMap((binding) => {
    if (isTexture(binding) || isUniform(binding)) return [];
    return isWindow(binding) ? binding.whole : binding;
  });
}

/** The texture forms a command reads or writes. */
export function texturesOf(command: Command): TextureForm[] {
  if (command.kind === 'copy-to-texture') return [command.form];
  return command.kind === 'dispatch' ? command.bindings.filter(isTexture) : [];
}

/** The storages a command writes. */
export function writtenBy(command: Command): Storage[] {
  if (command.kind === 'clear' || command.kind === 'copy') return [command.target];
  if (command.kind === 'copy-to-texture') return [];
  return storagesAmong(command.writes.map((index) => command.bindings[index]!));
}

/** The texture forms a command writes. */
export function formsWrittenBy(command: Command): TextureForm[] {
  if (command.kind === 'copy-to-texture') return [command.form];
  return command.kind === 'dispatch'
    ? command.writes.map((index) => command.bindings[index]!).filter(isTexture)
    : [];
}

/** @param planned prepare it before the values of a captured step exist */
export function bindGroupOf(
  device: GPUDevice,
  { pipeline, bindings }: Dispatch,
  planned = false,
): GPUBindGroup {
  const entries = bindings.map((binding, index): GPUBindGroupEntry => {
    if (isUniform(binding)) return { binding: index, resource: { buffer: binding.uniform } };
    if (isTexture(binding)) return { binding: index, resource: binding.texture!.createView() };
    const [storage, offset] = isWindow(binding) ? [binding.whole, binding.offset] : [binding, 0];
    const buffer = planned ? storage.plannedBuffer : storage.buffer;
    return { binding: index, resource: { buffer, offset, size: binding.bytes } };
  });
  return device.createBindGroup({ layout: pipeline.layout, entries });
}

/** Writes commands into one encoder, keeping a compute pass open as long as nothing else comes between. */
export class CommandWriter {
  readonly #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | null = null;
  #pipeline: GPUComputePipeline | null = null;

  constructor(device: GPUDevice) {
    this.#encoder = device.createCommandEncoder();
  }

  write(command: Command, bindGroup: GPUBindGroup | null): void {
    if (command.kind === 'dispatch') {
      const pass = this.#openPass();
      if (this.#pipeline !== command.pipeline.pipeline) {
        this.#pipeline = command.pipeline.pipeline;
        pass.setPipeline(this.#pipeline);
      }
      pass.setBindGroup(0, bindGroup!);
      pass.dispatchWorkgroups(...command.workgroups);
      return;
    }
    if (command.kind === 'clear') {
      this.clear(command.target.buffer);
      return;
    }
    this.#closePass();
    if (command.kind === 'copy') {
      const { source, sourceOffset, target, targetOffset, bytes } = command;
      this.#encoder.copyBufferToBuffer(source.buffer, sourceOffset, target.buffer, targetOffset, bytes);
    } else {
      const { source, form, bytesPerRow, parts } = command;
      for (const { offset, y, width, height } of parts)
        this.#encoder.copyBufferToTexture(
          { buffer: source.buffer, offset, bytesPerRow },
          { texture: form.texture!, origin: [0, y] },
          [width, height],
        );
    }
  }

  /** Zeroes a buffer. */
  clear(buffer: GPUBuffer): void {
    this.#closePass();
    this.#encoder.clearBuffer(buffer);
  }

  /** Copies a storage's bytes into a buffer that the host can map. */
  read(source: GPUBuffer, target: GPUBuffer, bytes: number): void {
    this.#closePass();
    this.#encoder.copyBufferToBuffer(source, 0, target, 0, bytes);
  }

  finish(): GPUCommandBuffer {
    this.#closePass();
    return this.#encoder.finish();
  }

  #openPass(): GPUComputePassEncoder {
    this.#pass ??= this.#encoder.beginComputePass();
    return this.#pass;
  }

  #closePass(): void {
    this.#pass?.end();
    this.#pass = null;
    this.#pipeline = null;
  }
}
