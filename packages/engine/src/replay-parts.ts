import { type BindGroups, type Command, writtenBy } from './commands.ts';
import type { Device } from './device.ts';
import type { Recurring } from './patience.ts';

/** How long one of the parts should take, in milliseconds. */
const PART_MS = 5;
/** Each costs a submit, and a short gap on the device. */
const MOST_PARTS = 16;
/** The device must have the next one when it is done with one. */
const AT_ONCE = 2;

/** The parts that each device has before it, of whatever steps, in order. */
const inFlight = new WeakMap<Device, Set<Promise<unknown>>>();

/**
 * Submits the commands of a captured step in parts that take a few milliseconds each, so that the device never has more than two before it. What is
 * submitted cannot be taken back, and on a software adapter it keeps all cores busy: whoever has something urgent waits for these parts then,
 * not for the whole step.
 * @param takes how long the step takes by experience
 * @param assertUsable called before each part but the first ones; what it throws ends the replay, as what `signal` is aborted with does
 */
export async function submitInParts(
  device: Device,
  commands: readonly Command[],
  bindGroups: BindGroups,
  takes: Recurring,
  assertUsable: () => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = takes.typicalMs > 0 ? Math.max(1, Math.round(takes.typicalMs / PART_MS)) : MOST_PARTS;
  // A search for what is no number counts what runs: nothing may come between.
  const count = device.numerics ? 1 : Math.min(wanted, MOST_PARTS, commands.length);
  const parts = inFlight.get(device) ?? new Set();
  inFlight.set(device, parts);
  // At once, not when the next part is due: whoever has something urgent waits for the device meanwhile, and not as long as all of it takes.
  const interrupt = () => device.patience.interrupted();
  signal?.addEventListener('abort', interrupt, { once: true });
  try {
    for (let part = 0; part < count; part++) {
      while (parts.size >= AT_ONCE) {
        await parts.values().next().value;
        signal?.throwIfAborted();
        assertUsable();
      }
      const [from, to] = [part, part + 1].map((at) => Math.round((at * commands.length) / count));
      const slice = commands.slice(from, to);
      device.submit(slice, bindGroups.slice(from, to), part === 0 ? takes : undefined);
      // Texture forms may have been made of them since the part before.
      for (const storage of slice.flatMap(writtenBy)) storage.version++;
      device.flush();
      // That a device is lost is told by whatever is asked of it next.
      const done = device.gpu.queue.onSubmittedWorkDone().then(forget, forget);
      parts.add(done);
      function forget(): void {
        parts.delete(done);
      }
    }
  } catch (error) {
    interrupt();
    throw error;
  } finally {
    signal?.removeEventListener('abort', interrupt);
  }
}
