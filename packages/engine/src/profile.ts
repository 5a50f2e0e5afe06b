import type { Command } from './commands.ts';
import type { Device } from './device.ts';

/** The time one kernel takes within a step. */
export interface KernelTime {
  kernel: string;
  /** Launches in a step. */
  launches: number;
  /** Milliseconds of all of them, each timed by itself over many runs. */
  ms: number;
}

/**
 * Times every command of a step by itself, `rounds` times in one submit, and sums by kernel. Values are spoilt: nothing
 * may rely on the step's outputs or on what it updates afterwards.
 */
export async function profileCommands(
  device: Device,
  commands: readonly Command[],
  bindGroups: readonly (GPUBindGroup | null)[],
  rounds: number,
): Promise<KernelTime[]> {
  const times = new Map<string, KernelTime>();
  for (let i = 0; i < commands.length; i++) {
    const command = commands[i]!;
    const kernel = command.kind === 'dispatch' ? command.pipeline.label : command.kind;
    await device.idle();
    const began = performance.now();
    device.submit(new Array(rounds).fill(command), new Array(rounds).fill(bindGroups[i]));
    await device.idle();
    const ms = (performance.now() - began) / rounds;
    const entry = times.get(kernel);
    if (entry) {
      entry.launches++;
      entry.ms += ms;
    } else {
      times.set(kernel, { kernel, launches: 1, ms });
    }
  }
  return [...times.values()].sort((a, b) => b.ms - a.ms);
}
