import type { AdapterChoice, AdapterClass } from './adapter.ts';

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
