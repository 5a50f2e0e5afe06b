import type { Device } from './device.ts';
import { collect } from './scope.ts';

/**
 * Compiles the kernels that steps need side by side, in threads of the runtime. Whoever captures or runs them at once has one compiled
 * after the other, in its own thread.
 * @param steps run once to write down what they would launch; nothing of it runs
 * @example
 * await prepare(device, () => step(batch));
 * const captured = capture(device, () => step(batch));
 */
export async function prepare(device: Device, steps: () => unknown): Promise<void> {
  const { recorder, result } = device.record(() => collect(steps));
  device.numerics?.takeStep();
  for (const tensor of result.made) tensor.dispose();
  const pipelines = recorder.commands.flatMap((command) =>
    command.kind === 'dispatch' ? command.pipeline : [],
  );
  await Promise.all(Array.from(new Set(pipelines), (pipeline) => pipeline.compileAside()));
}
