import { type AdapterClass, findAdapter, hasSubgroupMatrix, SUBGROUP_MATRIX } from './adapter.ts';
import {
  type BindGroups,
  bindGroupOf,
  type Command,
  CommandWriter,
  type Dispatch,
  formsWrittenBy,
  writtenBy,
} from './commands.ts';
import { checkDeviceOptions, type DeviceOptions } from './device-options.ts';
import { type DryLimits, dryGpu } from './dry-gpu.ts';
import { EngineError } from './errors.ts';
import { dispatchWidened, halfLaunch } from './half-storage.ts';
import { DeviceMemory } from './memory.ts';
import { NumericsCheck } from './numerics.ts';
import { inParts } from './parts.ts';
import { Patience, type Recurring } from './patience.ts';
import { type KernelValues, PipelineCache } from './pipeline.ts';
import type { MemoryReport } from './pool.ts';
import type { Recorder } from './recorder.ts';
import { checkBriefly, checkKernels } from './self-check.ts';
import { Staging } from './staging.ts';
import { Storage, type TextureForm } from './storage.ts';
import { turnsOf } from './turns.ts';
import { Uniforms } from './uniforms.ts';

const WANTED_FEATURES = ['subgroups', 'shader-f16', 'timestamp-query'] as const;
const WANTED_LIMITS = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxTextureDimension2D',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** Commands between two submits: enough to hide the cost of a submit, few enough to start early. */
const COMMANDS_PER_SUBMIT = 64;

/** A WebGPU device with pooled memory, compiled kernels and a queue of commands. Open one with `Device.open()`. */
export class Device {
  readonly gpu: GPUDevice;
  readonly adapterClass: AdapterClass;
  /** Whether products use subgroup matrices: see `DeviceOptions`. */
  readonly subgroupMatrix: boolean;
  /** Whether kernels can store a single f16: else two share a word. */
  readonly storesHalves: boolean;
  /** The most bytes of a tensor that a kernel sees at once. Larger tensors are computed in parts. */
  readonly bindingLimit: number;
  /** What the adapter calls itself. */
  readonly adapterName: string;
  readonly pipelines: PipelineCache;
  /** Resolves when the device is lost, and never when it is closed. Everything that is asked of it then throws the same error. */
  readonly lost: Promise<EngineError>;
  /** Looks for results that are not finite; null unless asked for. */
  readonly numerics: NumericsCheck | null;
  /** The most workgroups of a launch in one dimension. */
  readonly #most: number;
  /** How its work is waited for. */
  readonly patience: Patience = new Patience();
  readonly #memory: DeviceMemory;
  readonly #uniforms: Uniforms;
  /** Where the adapter came from. It must live as long as anything made from it: see adapter.ts. */
  readonly entry: GPU;
  #writer: CommandWriter | null = null;
  #pending = 0;
  #recorder: Recorder | null = null;
  #failure: EngineError | null = null;
  /** Resolves when what was submitted before memory was refused is done with. */
  #recovering: Promise<unknown> | null = null;
  #closed = false;

  private constructor(gpu: GPUDevice, entry: GPU, adapterClass: AdapterClass, options: DeviceOptions) {
    this.gpu = gpu;
    this.entry = entry;
    this.adapterClass = adapterClass;
    this.subgroupMatrix = adapterClass === 'gpu' && gpu.features.has(SUBGROUP_MATRIX as GPUFeatureName);
    // The portable kernels keep to what every adapter has.
    this.storesHalves = adapterClass !== 'portable' && gpu.features.has('shader-f16');
    const limit = Math.min(options.bindingLimitBytes ?? Infinity, gpu.limits.maxStorageBufferBindingSize);
    this.bindingLimit = Math.floor(limit / 256) * 256;
    const { vendor, architecture, device, description } = gpu.adapterInfo;
    this.adapterName = description || device || `${vendor} ${architecture}`.trim();
    this.#memory = new DeviceMemory(gpu, options.poolLimitBytes ?? 2 ** 30, {
      // What is queued before does not depend on the answer.
      beforeUnsure: () => this.flush(),
      onRefused: () => this.#recover(),
    });
    this.#uniforms = new Uniforms(gpu);
    this.#most = gpu.limits.maxComputeWorkgroupsPerDimension;
    this.pipelines = new PipelineCache(gpu, (error) => this.#fail(error));
    gpu.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.#explain(event.error);
    });
    this.lost = new Promise((resolve) => {
      gpu.lost.then(({ message }) => {
        const error = new EngineError(`the device was lost: ${message.split('\n')[0]}; open another`);
        this.#fail(error);
        if (!this.#closed) resolve(error);
      });
    });
    this.numerics = options.checkNumerics ? new NumericsCheck(this) : null;
  }

  /**
   * Opens the adapter of this process.
   * @throws AdapterError when there is none, EngineError when even its portable kernels are wrong, or an option is out of its range
   */
  static async open(options: DeviceOptions = {}): Promise<Device> {
    checkDeviceOptions(options);
    const { gpu, adapter, adapterClass } = await findAdapter(options);
    const { onWarning = console.warn } = options;
    const requiredFeatures = WANTED_FEATURES.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
    if (options.subgroupMatrix) {
      if (hasSubgroupMatrix(adapter)) requiredFeatures.push(SUBGROUP_MATRIX as GPUFeatureName);
      else onWarning(`${adapter.info.description}: no subgroup matrices of 16 x 16 f16; using f32 products`);
    }
    const requiredLimits: Record<string, number> = {};
    for (const name of WANTED_LIMITS) requiredLimits[name] = adapter.limits[name];
    const opened = await adapter.requestDevice({ requiredFeatures, requiredLimits });
    const device = new Device(opened, gpu, options.adapterClass ?? adapterClass, options);
    // Within a small binding limit not even the checks fit.
    const isWanted = options.selfCheck ?? (device.adapterClass !== 'portable' && !options.bindingLimitBytes);
    return isWanted ? device.#checked(options) : device;
  }

  /**
   * A device on which nothing is computed and no memory is taken, but `memory()` tells what the same work takes on one of that
   * class and those limits. Every value reads as zero.
   */
  static dry(adapterClass: AdapterClass, limits: DryLimits): Device {
    return new Device(dryGpu(limits), {} as GPU, adapterClass, {});
  }

  /**
   * Compares what training and answers rest on, gradients included, with float64 on fresh random numbers.
   * @returns a line for each result that is wrong
   */
  selfCheck(): Promise<string[]> {
    return checkKernels(this);
  }

  /** This device if its kernels are right, else one with the next safer kernels. */
  async #checked({ onWarning = console.warn, ...options }: DeviceOptions): Promise<Device> {
    const isBrief = this.adapterClass === 'software' && !options.selfCheck;
    const wrong = await (isBrief ? checkBriefly(this) : checkKernels(this));
    this.#memory.trim(true);
    if (wrong.length === 0) return this;
    this.close();
    const kernels = this.subgroupMatrix ? 'subgroup matrix' : this.adapterClass;
    const finding = `${this.adapterName}: the ${kernels} kernels are wrong (${wrong.join('; ')})`;
    if (this.adapterClass === 'portable') throw new EngineError(finding);
    const adapterClass = this.subgroupMatrix ? this.adapterClass : 'portable';
    onWarning(`${finding}; using the ${adapterClass} ones, which are slower`);
    return Device.open({ ...options, onWarning, adapterClass, subgroupMatrix: false, selfCheck: true });
  }

  /** Reserves memory for `bytes` bytes, rounded up so that kernels may read four elements at a time. */
  allocate(bytes: number, what = 'a tensor'): Storage {
    this.#assertUsable();
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const limit = this.gpu.limits.maxBufferSize;
    if (size > limit)
      throw new EngineError(`${what} of ${size} bytes is over this adapter's buffer limit of ${limit}`);
    if (this.#recorder) {
      const storage = new Storage(this, size, null, null);
      this.#recorder.storages.add(storage);
      return storage;
    }
    const storage = new Storage(this, size, this.#memory.take(size, what), (buffer) =>
      this.#giveBack(buffer),
    );
    this.#memory.allocations.touch(storage);
    return storage;
  }

  /** A buffer that stays until `freeBuffer`: the memory of a captured step. */
  allocateBuffer(bytes: number): GPUBuffer {
    return this.#memory.take(bytes, 'memory of a captured step');
  }

  /** Zeroes a buffer and gives it back: a step may have held copies of what must not be found again. */
  freeBuffer(buffer: GPUBuffer): void {
    if (this.#closed) return;
    if (!this.#memory.allocations.isRefused(buffer)) this.#open().clear(buffer);
    this.#giveBack(buffer);
  }

  /** @throws EngineError where it is known that there was no memory for something that was taken */
  assertGranted(memory: GPUBuffer | GPUTexture): void {
    this.#memory.allocations.assertGranted(memory);
  }

  /** Writes host bytes into a storage, after everything that was queued before. */
  upload(storage: Storage, data: ArrayBufferView<ArrayBuffer>, offset = 0): void {
    this.#assertUsable();
    if (this.#recorder || storage.isVirtual)
      throw new EngineError('host data cannot be uploaded inside a captured step: do it before a replay');
    this.flush();
    this.gpu.queue.writeBuffer(storage.buffer, offset, data.buffer, data.byteOffset, data.byteLength);
    storage.version++;
  }

  /** Reads a storage back. Everything queued before is finished when it resolves. */
  async download(storage: Storage, bytes: number, what = 'a tensor'): Promise<ArrayBuffer> {
    const content = await this.#readBack(storage, bytes, what);
    await this.numerics?.assertFinite((flag, size) => this.#readBack(flag, size));
    return content;
  }

  async #readBack(storage: Storage, bytes: number, what = 'a flag'): Promise<ArrayBuffer> {
    this.#assertUsable();
    if (this.#recorder) throw new EngineError('a value cannot be read inside a captured step');
    const size = Math.ceil(bytes / 4) * 4;
    const staging = new Staging(this.gpu, size);
    const assertRead = async () => {
      const { isRefused, fault } = await staging.outcome();
      if (fault && !isRefused) await this.#explain(fault);
      const failure = await this.#firstFailure();
      if (failure) throw failure;
      storage.assertSound();
      if (!isRefused) return;
      this.flush();
      throw this.#memory.shortage(`reading ${what}, ${bytes} bytes; tensors hold ${this.memory().liveBytes}`);
    };
    try {
      // While it is not sure that all memory was granted, what is queued may not run, or the copy may not: each by itself will.
      if (staging.isLarge || this.#memory.allocations.areUnsure) this.flush();
      staging.fill(() => {
        this.#open().read(storage.buffer, staging.buffer, size);
        this.flush();
      });
      const finished = await this.patience.sleep();
      await staging.map();
      finished();
      await assertRead();
      return staging.buffer.getMappedRange().slice(0, bytes);
    } catch (error) {
      await assertRead();
      throw error;
    } finally {
      staging.buffer.destroy();
    }
  }

  /** Compiles (once) and launches a kernel, or records the launch while a step is captured. */
  dispatch(
    kernel: string,
    call: {
      values?: KernelValues;
      unroll?: boolean;
      bindings: readonly (Storage | TextureForm)[];
      params?: Uint32Array<ArrayBuffer>;
      /** What is bound after `params`. */
      more?: readonly (Storage | TextureForm)[];
      writes: readonly number[];
      workgroups: readonly [number, number, number];
    },
  ): void {
    const { halves, widened } = halfLaunch(this, kernel, call.values, call.bindings);
    if (widened) {
      dispatchWidened(this, kernel, call, halves);
      return;
    }
    const limit = this.bindingLimit;
    const launches = this.bindsWhole(call.bindings) ? [call] : inParts(kernel, call, limit);
    const commands = launches.map(({ bindings, params, workgroups: written }): Dispatch => {
      const uniform = params ? [{ uniform: this.#uniforms.get(params) }] : [];
      const { turns, workgroups } = turnsOf(this.adapterClass, kernel, written);
      return {
        kind: 'dispatch',
        pipeline: this.pipelines.get(kernel, { ...call, halves, turns }),
        bindings: [...bindings, ...uniform, ...(call.more ?? [])],
        writes: call.writes,
        workgroups,
      };
    });
    for (const { workgroups } of commands) {
      if (workgroups.every((count) => count <= this.#most)) continue;
      throw new EngineError(
        `${kernel}: ${workgroups.join(' x ')} workgroups are over the ${this.#most} of a dimension`,
      );
    }
    for (const command of commands) this.run(command);
  }

  /** Whether each of the bindings fits the binding limit. */
  bindsWhole(bindings: readonly (Storage | TextureForm)[]): boolean {
    return bindings.every((binding) => !('bytes' in binding) || binding.bytes <= this.bindingLimit);
  }

  run(command: Command): void {
    this.#assertUsable();
    for (const storage of writtenBy(command)) storage.version++;
    if (this.#recorder) {
      this.#recorder.commands.push(command);
      return;
    }
    const { allocations } = this.#memory;
    if (allocations.areUnsure)
      for (const each of [...writtenBy(command), ...formsWrittenBy(command)]) allocations.touch(each);
    this.runNow(command, command.kind === 'dispatch' ? bindGroupOf(this.gpu, command) : null);
  }

  /** Queues a command past any capture. */
  runNow(command: Command, bindGroup: GPUBindGroup | null): void {
    this.#open().write(command, bindGroup);
    if (++this.#pending >= COMMANDS_PER_SUBMIT) this.flush();
  }

  /** Submits what is queued. */
  flush(): void {
    if (!this.#writer) return;
    const commands = this.#writer.finish();
    this.#writer = null;
    this.#pending = 0;
    this.gpu.queue.submit([commands]);
    this.#memory.trim();
  }

  /** Queues a prepared list of commands: a long one is submitted at once, short ones together. */
  submit(commands: readonly Command[], groups: BindGroups, recurring?: Recurring): void {
    this.#assertUsable();
    const { areUnsure } = this.#memory.allocations;
    if (areUnsure) for (const storage of commands.flatMap(writtenBy)) this.#memory.allocations.touch(storage);
    // What waits together is given up together where memory is refused.
    const alone = areUnsure || commands.length >= COMMANDS_PER_SUBMIT;
    if (alone) this.flush();
    const writer = this.#open();
    for (let i = 0; i < commands.length; i++) writer.write(commands[i]!, groups[i]!);
    this.#pending += commands.length;
    if (alone || this.#pending >= COMMANDS_PER_SUBMIT) this.flush();
    if (recurring) this.patience.submitted(recurring);
  }

  /** Resolves when all queued work is done. @throws EngineError of the first thing that went wrong. */
  async idle(): Promise<void> {
    this.flush();
    const finished = await this.patience.sleep();
    await this.gpu.queue.onSubmittedWorkDone();
    finished();
    await this.#firstFailure();
    this.#assertUsable();
    const shortage = this.#memory.allocations.takeShortage();
    if (shortage) throw shortage;
    await this.numerics?.assertFinite((flag, size) => this.#readBack(flag, size));
  }

  /** Writes down what `body` would run. */
  record<T>(body: () => T): { recorder: Recorder; result: T } {
    if (this.#recorder) throw new EngineError('a step is already being captured');
    this.flush();
    const recorder: Recorder = { commands: [], storages: new Set(), textures: [], forms: new Map() };
    this.#recorder = recorder;
    try {
      return { recorder, result: body() };
    } finally {
      this.#recorder = null;
    }
  }

  /** Runs `body` past the recorder: for what a captured step needs once and keeps. */
  outsideCapture<T>(body: () => T): T {
    const recorder = this.#recorder;
    this.#recorder = null;
    try {
      return body();
    } finally {
      this.#recorder = recorder;
    }
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get isCapturing(): boolean {
    return this.#recorder !== null;
  }

  /** Where the texture forms of a storage are kept: with the storage, or with the step that is being captured. */
  formsOf(storage: Storage): Map<string, TextureForm> {
    if (!this.#recorder || storage.constant) return storage.textures;
    let forms = this.#recorder.forms.get(storage);
    if (!forms) {
      forms = new Map();
      this.#recorder.forms.set(storage, forms);
    }
    return forms;
  }

  /** A four-channel f32 texture form of a storage, without a texture while a step is captured. */
  texture(source: Storage, width: number, height: number, what: string): TextureForm {
    const form: TextureForm = { source, texture: null, width, height, version: -1, spoilt: null };
    if (this.#recorder) this.#recorder.textures.push(form);
    else form.texture = this.takeTexture(width, height, what);
    return form;
  }

  takeTexture(width: number, height: number, what = 'a texture of a captured step'): GPUTexture {
    return this.#memory.takeTexture(width, height, what);
  }

  recycleTexture(texture: GPUTexture): void {
    if (!this.#closed) this.#memory.giveTexture(texture);
  }

  /** Destroys textures once the commands that use them are submitted. */
  destroyTextures(textures: readonly GPUTexture[]): void {
    if (textures.length > 0) this.flush();
    this.#memory.destroyTextures(textures);
  }

  memory(): MemoryReport {
    return this.#memory.report();
  }

  /** Destroys the device and everything on it. */
  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#closed = true;
    this.#memory.trim(true);
    this.gpu.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): CommandWriter {
    this.#writer ??= new CommandWriter(this.gpu);
    return this.#writer;
  }

  /** Goes on after memory was refused: nothing of what is being written down could run. */
  #recover(): void {
    this.#writer = null;
    this.#pending = 0;
    this.#recovering = this.gpu.queue.onSubmittedWorkDone().finally(() => {
      this.#recovering = null;
    });
  }

  /** Takes an error of WebGPU for what it says, unless it follows from another. */
  async #explain({ message }: GPUError): Promise<void> {
    // A kernel that does not compile makes everything around it invalid; what is wrong with it must come first. So does memory
    // that was refused, but only until what used it is done with.
    await this.#memory.allocations.settled();
    if (this.#recovering) return;
    await this.pipelines.checked();
    this.#fail(new EngineError(`WebGPU: ${message.split('\n')[0]}`));
  }

  #giveBack(buffer: GPUBuffer): void {
    if (!this.#closed) this.#memory.give(buffer);
  }

  #fail(error: EngineError): void {
    if (!this.#closed) this.#failure ??= error;
  }

  /** What went wrong first, once it is known whether kernels compile. */
  async #firstFailure(): Promise<EngineError | null> {
    await this.#memory.allocations.settled();
    await this.pipelines.checked();
    return this.#failure;
  }

  #assertUsable(): void {
    if (this.#closed) throw new EngineError('use of a closed device');
    if (this.#failure) throw this.#failure;
  }
}
