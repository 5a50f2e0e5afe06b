import { type BindGroups, bindGroupOf, type Command, storagesOf, texturesOf, writtenBy } from './commands.ts';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { type KernelTime, profileCommands } from './profile.ts';
import type { Recorder } from './recorder.ts';
import { submitInParts } from './replay-parts.ts';
import { collect } from './scope.ts';
import type { Storage, TextureForm } from './storage.ts';

/** A step that was run once to write down its commands, ready to be run again as often as wanted. */
export interface Captured<T> {
  /** What the step returned. Its tensors hold the values of the latest replay. */
  readonly outputs: T;
  /** How many commands a replay submits. */
  readonly length: number;
  /** Bytes of the arena: what lives only within the step. */
  readonly arenaBytes: number;
  replay(): void;
  /**
   * The same in parts, where it takes longer than a few milliseconds: what is urgent need not wait for all of it. The outputs can be read
   * once it resolves; a second replay has to wait for that, too.
   * @throws what `signal` was aborted with before all parts were submitted; the outputs hold nothing then. EngineError once the step is
   *   disposed
   */
  replayInParts(signal?: AbortSignal): Promise<void>;
  /** Times every kernel of the step by itself; spoils its values. For tuning. */
  profile(rounds?: number): Promise<KernelTime[]>;
  dispose(): void;
}

/**
 * Writes down the commands of one step, without running them. Tensors made before the step are its inputs: write to
 * them between replays. Values that live only within the step share memory where their lives do not overlap.
 *
 * @example
 * const step = capture(device, () => {
 *   const loss = crossEntropy(model(x), labels, weights);
 *   optimiser.apply(gradients(loss, parameters));
 *   return { loss };
 * });
 * step.replay();
 * @throws EngineError when the step reads a value, uploads or captures another one, and whatever the step throws
 */
export function capture<T>(device: Device, step: () => T): Captured<T> {
  device.numerics?.takeStep(); // of a step whose capture failed
  const { recorder, result } = device.record(() => collect(step));
  const { result: outputs, made } = result;
  const { commands } = recorder;
  const looks = device.numerics?.takeStep() ?? [];
  const arena = planArena(device, recorder);
  const own = recorder.storages;
  const sources = commands.flatMap(texturesOf).map(({ source }) => source);
  const foreign = new Set(
    [...commands.flatMap(storagesOf), ...sources].filter((storage) => !own.has(storage)),
  );
  const ownForms = new Set(recorder.textures);
  const foreignForms = new Set(commands.flatMap(texturesOf).filter((form) => !ownForms.has(form)));
  const written = new Set(commands.flatMap(writtenBy));
  const recurring = { typicalMs: 0, timed: 0 };
  let state: 'waiting' | 'ready' | 'gone' = 'waiting';
  const settle = (next: 'ready' | 'gone') => {
    if (state === next) return;
    state = next;
    for (const storage of own) storage.settle(next);
  };
  const dispose = () => {
    if (state === 'gone') return;
    settle('gone');
    for (const tensor of made) tensor.dispose();
    arena.dispose();
  };
  let bindGroups: BindGroups;
  try {
    bindGroups = commands.map((command) =>
      command.kind === 'dispatch' ? bindGroupOf(device.gpu, command, true) : null,
    );
  } catch (error) {
    dispose();
    throw error;
  }
  const assertUsable = () => {
    if (state === 'gone') throw new EngineError('replay: the captured step was disposed');
    for (const storage of foreign)
      if (!storage.isAlive)
        throw new EngineError('replay: a tensor that the captured step uses was disposed');
    arena.assertGranted();
    for (const { spoilt } of foreignForms) if (spoilt) throw spoilt;
  };
  const begin = () => {
    assertUsable();
    settle('ready');
    device.numerics?.replaying(looks);
  };
  /** Texture forms made before hold other values now. */
  const changed = () => {
    for (const storage of written) storage.version++;
  };
  return {
    outputs,
    length: commands.length,
    arenaBytes: arena.bytes,
    replay: () => {
      begin();
      device.submit(commands, bindGroups, recurring);
      changed();
    },
    replayInParts: async (signal) => {
      signal?.throwIfAborted();
      begin();
      await submitInParts(device, commands, bindGroups, recurring, assertUsable, signal);
    },
    profile: async (rounds = 20) => {
      assertUsable();
      settle('ready');
      try {
        return await profileCommands(device, commands, bindGroups, rounds);
      } finally {
        changed();
      }
    },
    dispose,
  };
}

/** Slots up to this size serve any value: they are not worth telling apart. */
const SMALLEST_SLOT = 256;

interface Life<T> {
  of: T;
  first: number;
  last: number;
}

/** From which command to which each storage and texture of the step is needed. */
function livesOf(commands: readonly Command[]): [Life<Storage>[], Life<TextureForm>[]] {
  const storages = new Map<Storage, Life<Storage>>();
  const textures = new Map<TextureForm, Life<TextureForm>>();
  const extend = <T>(lives: Map<T, Life<T>>, of: T, at: number) => {
    const life = lives.get(of);
    if (life) life.last = at;
    else lives.set(of, { of, first: at, last: at });
  };
  commands.forEach((command, at) => {
    for (const storage of storagesOf(command)) extend(storages, storage, at);
    for (const texture of texturesOf(command)) extend(textures, texture, at);
  });
  return [[...storages.values()], [...textures.values()]];
}

/** The memory of a captured step. */
interface Arena {
  bytes: number;
  /** @throws EngineError once it is known that there was not enough */
  assertGranted(): void;
  dispose(): void;
}

/** Gives every captured storage and texture its memory. Tensors that outlive the step, returned or kept, share theirs with nothing. */
function planArena(device: Device, recorder: Recorder): Arena {
  const [storageLives, textureLives] = livesOf(recorder.commands);
  const own = recorder.storages;
  const buffers: GPUBuffer[] = [];
  assignSlots(
    storageLives
      .filter(({ of }) => own.has(of))
      .map((life) => (life.of.isAlive ? { ...life, last: Number.POSITIVE_INFINITY } : life)),
    ({ bytes }, slot: GPUBuffer) => slot.size >= bytes && slot.size <= Math.max(SMALLEST_SLOT, 2 * bytes),
    ({ bytes }) => {
      const buffer = device.allocateBuffer(bytes);
      buffers.push(buffer);
      return buffer;
    },
    (storage, buffer) => storage.assign(buffer),
  );
  const ownTextures = new Set(recorder.textures);
  const textures: GPUTexture[] = [];
  assignSlots(
    textureLives.filter(({ of }) => ownTextures.has(of)),
    ({ width, height }, slot: GPUTexture) => slot.width === width && slot.height === height,
    ({ width, height }) => {
      const texture = device.takeTexture(width, height);
      textures.push(texture);
      return texture;
    },
    (form, texture) => {
      form.texture = texture;
    },
  );
  return {
    bytes: buffers.reduce((sum, buffer) => sum + buffer.size, 0),
    assertGranted: () => {
      for (const memory of [...buffers, ...textures]) device.assertGranted(memory);
    },
    // What the step computed was learnt from its inputs: nothing of it may turn up in another tensor's memory.
    dispose: () => {
      for (const buffer of buffers) device.freeBuffer(buffer);
      device.destroyTextures(textures);
    },
  };
}

/** Walks lives in the order they begin and reuses the first free slot that fits. */
function assignSlots<T, S>(
  lives: readonly Life<T>[],
  fits: (of: T, slot: S) => boolean,
  make: (of: T) => S,
  assign: (of: T, slot: S) => void,
): void {
  const slots: { slot: S; busyUntil: number }[] = [];
  for (const { of, first, last } of [...lives].sort((a, b) => a.first - b.first)) {
    let entry = slots.find(({ slot, busyUntil }) => busyUntil < first && fits(of, slot));
    if (!entry) {
      entry = { slot: make(of), busyUntil: last };
      slots.push(entry);
    }
    entry.busyUntil = last;
    assign(of, entry.slot);
  }
}
