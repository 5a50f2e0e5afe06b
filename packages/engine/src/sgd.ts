import { clipFactor } from './clip.ts';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';
import { fill } from './operations/layout.ts';
import { checkGradients, checkOptions, checkParameters } from './optimiser-checks.ts';
import { scope } from './scope.ts';
import { withoutGradients } from './tape.ts';
import { type Tensor, tensor, zeros } from './tensor.ts';

export interface SGDOptions {
  /** Default 0. */
  momentum?: number;
  /** Look ahead along the momentum. Default false. */
  nesterov?: boolean;
  /** Added to the gradient, times the parameter. Default 0. */
  weightDecay?: number;
  /** Gradients are scaled down to this norm over all parameters. Default: not clipped. */
  clipNorm?: number;
}

/**
 * Stochastic gradient descent with momentum, as PyTorch computes it (without dampening). `begin` uploads what changes with
 * the step; `apply` updates the parameters in place and may be captured.
 * @throws EngineError when Nesterov's form is asked for without momentum, EngineError, ShapeError for parameters that are not f32
 *   tensors of the device
 */
export class SGD {
  readonly parameters: readonly Tensor[];
  readonly #device: Device;
  readonly #options: Required<Omit<SGDOptions, 'clipNorm'>> & { clipNorm: number | null };
  readonly #velocities: readonly Tensor[];
  readonly #hyper: Tensor;
  readonly #one: Tensor;
  #isBegun = false;

  constructor(device: Device, parameters: readonly Tensor[], options: SGDOptions = {}) {
    const { momentum = 0, nesterov = false, weightDecay = 0, clipNorm = null } = options;
    checkOptions('SGD', { momentum, weightDecay, clipNorm });
    if (nesterov && momentum === 0) throw new EngineError('SGD: nesterov needs a momentum above 0');
    checkParameters('SGD', device, parameters);
    this.parameters = parameters;
    this.#device = device;
    this.#options = { momentum, nesterov, weightDecay, clipNorm };
    this.#velocities = parameters.map(({ shape }) => zeros(device, shape));
    this.#hyper = tensor(device, new Float32Array(4));
    this.#one = fill(device, [1], 1);
  }

  /** Starts the next step with the given learning rate. */
  begin(learningRate: number): void {
    checkOptions('SGD', { learningRate });
    const { momentum, weightDecay } = this.#options;
    this.#hyper.write(Float32Array.of(learningRate, weightDecay, momentum, 0));
    this.#isBegun = true;
  }

  /**
   * Updates the parameters by their gradients, in the order of `parameters`.
   * @throws EngineError, ShapeError when they do not fit the parameters, or there was no `begin`
   */
  apply(gradients: readonly Tensor[]): void {
    if (!this.#isBegun && !this.#device.isCapturing)
      throw new EngineError('SGD: begin() sets the learning rate of a step before apply()');
    checkParameters('SGD', this.#device, this.parameters);
    checkGradients('SGD', this.#device, gradients, this.parameters);
    const { clipNorm, nesterov } = this.#options;
    scope(() =>
      withoutGradients(() => {
        const clip =
          clipNorm === null || gradients.length === 0 ? this.#one : clipFactor(gradients, clipNorm);
        this.parameters.forEach((parameter, index) => {
          const tensors = [parameter, gradients[index]!, this.#velocities[index]!, this.#hyper, clip];
          parameter.device.dispatch('optimiser/sgd', {
            values: { NESTEROV: nesterov },
            bindings: tensors.map((each) => each.storage),
            writes: [0, 2],
            workgroups: gridOf(parameter.storage.bytes / 16),
          });
          parameter.device.numerics?.watch(parameter, `SGD on parameter ${index}`);
        });
      }),
    );
  }

  /** Frees its state, zeroed: the velocities are learnt from the data. */
  dispose(): void {
    for (const velocity of this.#velocities) velocity.destroy();
    this.#hyper.dispose();
    this.#one.dispose();
  }
}
