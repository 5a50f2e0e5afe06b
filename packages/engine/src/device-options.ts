import type { AdapterChoice, AdapterClass } from './adapter.ts';
import { EngineError } from './errors.ts';

export interface DeviceOptions extends AdapterChoice {
  /** Use the kernels of this class instead of the adapter's own: `portable` ones run anywhere. */
  adapterClass?: AdapterClass;
  /**
   * Compare the chosen kernels, gradients included, with float64 before anything is computed, and use `portable` ones where they are
   * wrong. Default: on `gpu` adapters; on `software` ones, which the engine is tested on, two results are compared, once in a process.
   */
  selfCheck?: boolean;
  /** Told, in one line, what is wrong but not in the way. Default `console.warn`. */
  onWarning?: (message: string) => void;
  /** Bytes of freed buffers, and of freed textures, kept for reuse. Default 1 GiB. */
  poolLimitBytes?: number;
  /**
   * Look at the result of every operation, in captured steps too: reading a value then fails with the name of the first
   * operation that made a NaN or an infinity. For finding it; costs a kernel an operation. Default false.
   */
  checkNumerics?: boolean;
  /** Bind no more than this at once, less than the adapter can, rounded down to 256 bytes: to test with small tensors. */
  bindingLimitBytes?: number;
}

const CLASSES: readonly AdapterClass[] = ['software', 'gpu', 'portable'];

/** @throws EngineError for an option out of its range: no kernel could be chosen, or no tensor cut to fit */
export function checkDeviceOptions({
  adapterClass,
  poolLimitBytes = 0,
  bindingLimitBytes,
}: DeviceOptions): void {
  if (adapterClass && !CLASSES.includes(adapterClass))
    throw new EngineError(`Device.open: adapterClass ${adapterClass} is none of ${CLASSES.join(', ')}`);
  if (!(poolLimitBytes >= 0))
    throw new EngineError(`Device.open: poolLimitBytes ${poolLimitBytes} is not a number of 0 or more`);
  if (bindingLimitBytes !== undefined && !(bindingLimitBytes >= 256))
    throw new EngineError(
      `Device.open: bindingLimitBytes ${bindingLimitBytes} is not a number of 256 or more`,
    );
}
