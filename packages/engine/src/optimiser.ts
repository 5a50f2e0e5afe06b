import { clipFactor } from './clip.ts';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { gridOf } from './operation.ts';
import { fill } from './operations/layout.ts';
import { checkGradients, checkOptions, checkParameters } from './optimiser-checks.ts';
import { scope } from './scope.ts';
import { withoutGradients } from './tape.ts';
import { type Tensor, tensor, zeros } from './tensor.ts';

export interface AdamWOptions {
  /** Default 0.9 and 0.999. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  epsilon?: number;
  /** Decoupled weight decay. Default 0.01. */
  weightDecay?: number;
  /** Gradients are scaled down to this norm over all parameters. Default: not clipped. */
  clipNorm?: number;
}

/**
 * AdamW (Loshchilov and Hutter 2019). `begin` uploads what changes with the step; `apply` updates the parameters in
 * place and may be captured.
 * @throws EngineError, ShapeError for parameters that are not f32 tensors of the device, and options out of their range
 */
export class AdamW {
  readonly parameters: readonly Tensor[];
  readonly #device: Device;
  readonly #options: Required<Omit<AdamWOptions, 'clipNorm'>> & { clipNorm: number | null };
  readonly #moments: readonly { mean: Tensor; square: Tensor }[];
  readonly #hyper: Tensor;
  readonly #one: Tensor;
  #powers: [number, number] = [1, 1];

  constructor(device: Device, parameters: readonly Tensor[], options: AdamWOptions = {}) {
    checkParameters('AdamW', device, parameters);
    this.parameters = parameters;
    this.#device = device;
    const { epsilon = 1e-8, weightDecay = 0.01, clipNorm = null } = options;
    // As the kernel has them: 1 - beta differs otherwise, and with it the corrections from the moments that they correct.
    const [first, second] = options.betas ?? [0.9, 0.999];
    const betas = [Math.fround(first), Math.fround(second)] as const;
    checkOptions('AdamW', { epsilon, weightDecay, clipNorm });
    for (const beta of betas)
      if (!(beta >= 0 && beta < 1))
        throw new EngineError(`AdamW: betas ${first},${second} are not within [0, 1)`);
    this.#options = { betas, epsilon, weightDecay, clipNorm };
    this.#moments = parameters.map(({ shape }) => ({
      mean: zeros(device, shape),
      square: zeros(device, shape),
    }));
    // Of a rate of 0, until there is a first step: a captured one may be replayed before.
    this.#hyper = tensor(device, Float32Array.of(0, 0, betas[0], betas[1], epsilon, 1, 1, 0));
    this.#one = fill(device, [1], 1);
  }

  /** Starts the next step with the given learning rate. Steps count on by one. */
  begin(learningRate: number): void {
    checkOptions('AdamW', { learningRate });
    const { betas, epsilon, weightDecay } = this.#options;
    // Powers by repeated products, not Math.pow: every runtime rounds a product alike.
    this.#powers = [this.#powers[0] * betas[0], this.#powers[1] * betas[1]];
    const corrections = [1 - this.#powers[0], 1 - this.#powers[1]] as const;
    this.#hyper.write(
      Float32Array.of(learningRate, weightDecay, betas[0], betas[1], epsilon, ...corrections, 0),
    );
  }

  /**
   * Updates the parameters by their gradients, in the order of `parameters`.
   * @throws EngineError, ShapeError when they do not fit the parameters, or there was no `begin`
   */
  apply(gradients: readonly Tensor[]): void {
    if (this.#powers[0] === 1 && !this.#device.isCapturing)
      throw new EngineError('AdamW: begin() sets the learning rate of a step before apply()');
    checkParameters('AdamW', this.#device, this.parameters);
    checkGradients('AdamW', this.#device, gradients, this.parameters);
    scope(() =>
      withoutGradients(() => {
        const { clipNorm } = this.#options;
        const clip =
          clipNorm === null || gradients.length === 0 ? this.#one : clipFactor(gradients, clipNorm);
        this.parameters.forEach((parameter, index) => {
          const { mean, square } = this.#moments[index]!;
          const tensors = [parameter, gradients[index]!, mean, square, this.#hyper, clip];
          parameter.device.dispatch('optimiser/adamw', {
            bindings: tensors.map((t) => t.storage),
            writes: [0, 2, 3],
            workgroups: gridOf(parameter.storage.bytes / 16),
          });
          parameter.device.numerics?.watch(parameter, `AdamW on parameter ${index}`);
        });
      }),
    );
  }

  /** Frees its state, zeroed: the moments are learnt from the data. */
  dispose(): void {
    for (const { mean, square } of this.#moments) {
      mean.destroy();
      square.destroy();
    }
    this.#hyper.dispose();
    this.#one.dispose();
  }
}
