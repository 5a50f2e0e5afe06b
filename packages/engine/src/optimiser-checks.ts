import type { Device } from './device.ts';
import { EngineError, ShapeError } from './errors.ts';
import { assertSameShape } from './operation.ts';
import type { Tensor } from './tensor.ts';

// The kernels of optimisers walk bare memory: with what does not fit they would train wrongly and say nothing.

/** Fails for options that are negative or none: training would go uphill, or to NaN. */
export function checkOptions(name: string, options: Record<string, number | null>): void {
  for (const [option, value] of Object.entries(options))
    if (value !== null && !(value >= 0))
      throw new EngineError(`${name}: ${option} ${value} is not a number of 0 or more`);
}

/** Fails unless all of them are alive, on the device, and f32. @param what what to call one of them */
export function checkFloats(name: string, what: string, device: Device, tensors: readonly Tensor[]): void {
  tensors.forEach((each, index) => {
    const { shape, dtype } = each;
    if (each.isDisposed) throw new EngineError(`${name}: ${what} ${index} of shape [${shape}] is disposed`);
    if (each.device !== device)
      throw new EngineError(`${name}: ${what} ${index} of shape [${shape}] is on another device`);
    if (dtype !== 'f32')
      throw new ShapeError(`${name}: ${what} ${index} of shape [${shape}] holds ${dtype}, not f32`);
  });
}

/** The same for parameters, which may not be constant. */
export function checkParameters(name: string, device: Device, parameters: readonly Tensor[]): void {
  checkFloats(name, 'parameter', device, parameters);
  parameters.forEach(({ storage, shape }, index) => {
    if (storage.constant)
      throw new EngineError(`${name}: parameter ${index} of shape [${shape}] is constant`);
  });
}

/**
 * Fails unless there is one gradient for each parameter, of its shape, and all are alive, on the device, f32, and not the memory that
 * they are to change: a launch that reads what it writes spoils the device.
 */
export function checkGradients(
  name: string,
  device: Device,
  gradients: readonly Tensor[],
  parameters: readonly Tensor[],
): void {
  if (gradients.length !== parameters.length)
    throw new EngineError(`${name}: ${gradients.length} gradients for ${parameters.length} parameters`);
  checkFloats(name, 'gradient', device, gradients);
  gradients.forEach(({ shape }, index) => {
    assertSameShape(`${name}: gradient ${index} and its parameter`, shape, parameters[index]!.shape);
  });
  const changed = new Set(parameters.map(({ storage }) => storage));
  gradients.forEach(({ storage, shape }, index) => {
    if (changed.has(storage))
      throw new EngineError(
        `${name}: gradient ${index} of shape [${shape}] is in the memory that it would change`,
      );
  });
}
