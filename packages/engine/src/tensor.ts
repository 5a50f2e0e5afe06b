import { bytesOf, checkExtents, checkType, type DataType, sizeOf, unpack } from './data-type.ts';
import type { Device } from './device.ts';
import { EngineError, ShapeError } from './errors.ts';
import { register } from './scope.ts';
import type { Storage } from './storage.ts';
import type { Node } from './tape.ts';

export type { DataType, FrozenType } from './data-type.ts';
export { sizeOf } from './data-type.ts';

export type Shape = readonly number[];

export interface TensorOptions {
  /** Gradients flow to it. */
  trainable?: boolean;
  /** Its values never change again: the engine may keep rearranged copies of them. */
  constant?: boolean;
}

/** A contiguous, row-major array on a device. Four bytes an element, or fewer in a frozen weight. */
export class Tensor {
  readonly storage: Storage;
  readonly shape: Shape;
  readonly dtype: DataType;
  trainable: boolean;
  /** How it was computed, when a gradient may flow through it. */
  node: Node | null = null;
  #disposed = false;

  /** Takes over one count of `storage`. */
  constructor(storage: Storage, shape: Shape, dtype: DataType = 'f32', trainable = false) {
    this.storage = storage;
    this.shape = shape;
    this.dtype = dtype;
    this.trainable = trainable;
    if (dtype === 'f16') storage.halves = sizeOf(shape);
    register(this);
  }

  get device(): Device {
    return this.storage.device;
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  /** Whether gradients flow to or through it. */
  get isTracked(): boolean {
    return this.trainable || this.node !== null;
  }

  /**
   * Replaces its values. In a captured step, call it between replays.
   * @throws ShapeError for another number of values, or of another type; EngineError for a constant
   */
  write(data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): void {
    this.assertAlive('write');
    if (data.length !== this.size)
      throw new ShapeError(`write: ${data.length} values for a tensor of shape [${this.shape}]`);
    if (this.storage.constant) throw new EngineError('write: the tensor is constant');
    if (this.dtype !== (data instanceof Float32Array ? 'f32' : 'u32'))
      throw new ShapeError(`write: the tensor holds ${this.dtype}, the data is a ${data.constructor.name}`);
    this.device.upload(this.storage, data);
  }

  /** Its values; those of a frozen weight as f32. */
  async read(): Promise<Float32Array<ArrayBuffer>> {
    this.assertAlive('read');
    const { dtype, shape } = this;
    if (dtype === 'u32') throw new ShapeError('read: the tensor holds u32; use readUint32');
    const bytes = await this.#download();
    return dtype === 'f32' ? new Float32Array(bytes) : unpack(new Uint32Array(bytes), shape, dtype);
  }

  /** Its memory as 32-bit words. */
  async readUint32(): Promise<Uint32Array<ArrayBuffer>> {
    this.assertAlive('readUint32');
    return new Uint32Array(await this.#download());
  }

  #download(): Promise<ArrayBuffer> {
    const { device, storage, dtype, shape } = this;
    return device.download(storage, bytesOf(dtype, shape), `a tensor of shape [${shape}]`);
  }

  /** The single value of a one-element tensor. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new ShapeError(`item: the tensor has shape [${this.shape}], not one element`);
    return (await this.read())[0]!;
  }

  /** The same values, cut off from the tape. */
  detach(): Tensor {
    this.assertAlive('detach');
    return new Tensor(this.storage.retain(), this.shape, this.dtype);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#forget();
    this.storage.release();
  }

  /**
   * Zeroes its memory on the device, destroys every rearranged copy, and disposes it: for weights that must not be
   * found again. Other tensors that share the memory see zeros.
   */
  destroy(): void {
    if (this.#disposed) return;
    this.#forget();
    this.storage.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  /** @param user the operation to name in the message */
  assertAlive(user: string): void {
    if (this.#disposed) throw new EngineError(`${user}: use of a disposed tensor of shape [${this.shape}]`);
  }

  #forget(): void {
    this.#disposed = true;
    for (const saved of this.node?.saved ?? []) saved.dispose();
    this.node = null;
  }
}

/** A tensor with the given values. @throws ShapeError when their number does not fit the shape. */
export function tensor(
  device: Device,
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | readonly number[],
  shape: Shape = [data.length],
  options: TensorOptions = {},
): Tensor {
  const values = data instanceof Float32Array || data instanceof Uint32Array ? data : Float32Array.from(data);
  if (values.length !== sizeOf(shape))
    throw new ShapeError(`tensor: ${values.length} values for shape [${shape}]`);
  const made = empty(device, shape, values instanceof Uint32Array ? 'u32' : 'f32');
  device.upload(made.storage, values);
  return withOptions(made, options);
}

/**
 * A constant f32 tensor whose values come in pieces, so that the host never holds them all.
 * @param fill writes every value once: `write(values, at)` puts some from number `at` on, and they may change afterwards
 * @throws ShapeError for values past the end
 */
export async function tensorInPieces(
  device: Device,
  shape: Shape,
  fill: (write: (values: Float32Array<ArrayBuffer>, at: number) => void) => Promise<void>,
): Promise<Tensor> {
  const made = empty(device, shape);
  try {
    await fill((values, at) => {
      if (!(at >= 0 && at + values.length <= made.size))
        throw new ShapeError(
          `tensorInPieces: ${values.length} values from ${at} on are not within shape [${shape}]`,
        );
      device.upload(made.storage, values, at * 4);
    });
  } catch (error) {
    made.dispose();
    throw error;
  }
  return withOptions(made, { constant: true });
}

/** A tensor of zeros. */
export function zeros(
  device: Device,
  shape: Shape,
  options: TensorOptions & { dtype?: DataType } = {},
): Tensor {
  const made = empty(device, shape, options.dtype);
  device.run({ kind: 'clear', target: made.storage });
  return withOptions(made, options);
}

function withOptions(made: Tensor, { trainable = false, constant = false }: TensorOptions): Tensor {
  made.trainable = trainable;
  made.storage.constant = constant;
  return made;
}

/**
 * A tensor whose values are not set: the output of a kernel. The memory of every tensor comes from here.
 * @param maker what to call it where it cannot be
 * @throws ShapeError for an extent that is not a positive integer, or a type that cannot hold the shape
 */
export function empty(device: Device, shape: Shape, dtype: DataType = 'f32', maker = 'a tensor'): Tensor {
  checkExtents(maker, shape);
  checkType(maker, dtype, shape);
  return new Tensor(device.allocate(bytesOf(dtype, shape), `${maker} of shape [${shape}]`), shape, dtype);
}
