import type { Command } from './commands.ts';
import type { Device } from './device.ts';
import type { Recurring } from './patience.ts';

/** How long one of the parts should take, in milliseconds. */
const PART_MS = 5;
/** Each costs a submit, and a short gap on the device. */
const MOST_PARTS = 16;
/** The device must have the next one when it is done with one. */
const AT_ONCE = 2;

/**
 * The commands of a captured step in parts that take a few milliseconds each. What is submitted cannot be taken back, and on a software
 * adapter it keeps all cores busy: whoever has something urgent waits for the part under way then, not for the whole step.
 */
export class ReplayParts {
  readonly #device: Device;
  readonly #commands: readonly Command[];
  readonly #bindGroups: readonly (GPUBindGroup | null)[];

  constructor(device: Device, commands: readonly Command[], bindGroups: readonly (GPUBindGroup | null)[]) {
    this.#device = device;
    this.#commands = commands;
    this.#bindGroups = bindGroups;
  }

  /**
   * Submits one part after the other, so that the device never has more than two before it.
   * @param step how long the step takes by experience
   * @param assertGoesOn called before each part but the first ones; what it throws ends the replay
   */
  async submit(step: Recurring, assertGoesOn: () => void): Promise<void> {
    const device = this.#device;
    const wanted = step.typicalMs > 0 ? Math.max(1, Math.round(step.typicalMs / PART_MS)) : MOST_PARTS;
    const count = Math.min(wanted, MOST_PARTS, this.#commands.length);
    const done: Promise<unknown>[] = [];
    for (let part = 0; part < count; part++) {
      if (part >= AT_ONCE) {
        await done[part - AT_ONCE];
        try {
          assertGoesOn();
        } catch (error) {
          device.patience.interrupted();
          throw error;
        }
      }
      const [from, to] = [part, part + 1].map((at) => Math.round((at * this.#commands.length) / count));
      const [commands, bindGroups] = [this.#commands.slice(from, to), this.#bindGroups.slice(from, to)];
      device.submit(commands, bindGroups, part === 0 ? step : undefined);
      device.flush();
      // That a device is lost is told by whatever is asked of it next.
      if (part + AT_ONCE < count) done.push(device.gpu.queue.onSubmittedWorkDone().catch(() => {}));
    }
  }
}
