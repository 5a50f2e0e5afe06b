import { EngineError } from './errors.ts';
import { add } from './operations/arithmetic.ts';
import { fill } from './operations/layout.ts';
import { scope } from './scope.ts';
import { asRule, withoutGradients, withRecording } from './tape.ts';
import type { Tensor } from './tensor.ts';

/**
 * The gradients of a scalar `loss` with respect to `parameters`, in their order. Below the lowest trainable tensor
 * nothing is computed: what depends on no trainable tensor has no tape.
 * @throws EngineError when the loss is not a scalar or does not depend on a parameter
 */
export function gradients(loss: Tensor, parameters: readonly Tensor[]): Tensor[] {
  loss.assertAlive('gradients');
  if (loss.size !== 1)
    throw new EngineError(`gradients: the loss has shape [${loss.shape}], not one element`);
  return scope(() =>
    withoutGradients(() => {
      const found = new Map<Tensor, Tensor>([[loss, fill(loss.device, loss.shape, 1)]]);
      propagate(loss, found);
      const given = new Set<Tensor>();
      return parameters.map((parameter, index) => {
        const gradient = found.get(parameter);
        if (!gradient) throw new EngineError(`gradients: the loss does not depend on parameter ${index}`);
        // Rules may pass one tensor to several inputs; whoever asked may dispose each by itself.
        if (given.has(gradient)) return gradient.detach();
        given.add(gradient);
        return gradient;
      });
    }),
  );
}

/** Walks the tape from `root` back, as far as `until`, and adds the gradients it meets to `found`. */
function propagate(root: Tensor, found: Map<Tensor, Tensor>, until: ReadonlySet<Tensor> = new Set()): void {
  for (const output of tapeBehind(root, until)) {
    const gradient = found.get(output);
    if (!gradient) continue;
    const { operation, inputs, wanted, backward, recompute } = output.node!;
    // A tensor that was disposed has lost its tape: without this, its share of the gradient would be missing silently.
    const gone = inputs.find((input, index) => wanted[index] && input.isDisposed);
    if (gone)
      throw new EngineError(
        `gradients: an input of ${operation}, shape [${gone.shape}], was disposed before the backward pass`,
      );
    if (recompute) {
      // In a scope of its own: what is computed again is needed here only. Sums go on where they stood, so that their order,
      // and with it their bits, are those of the tape that was not kept.
      scope(() => {
        const again = withRecording(true, recompute);
        accumulate(found, again, gradient);
        propagate(again, found, new Set(inputs));
        return inputs.map((input) => found.get(input));
      });
      continue;
    }
    const parts = asRule(() => backward(gradient));
    inputs.forEach((input, index) => {
      const part = parts[index];
      if (!part || !wanted[index]) return;
      part.device.numerics?.watch(part, `the gradient of ${operation} for input ${index}`);
      accumulate(found, input, part);
    });
  }
}

function accumulate(found: Map<Tensor, Tensor>, to: Tensor, part: Tensor): void {
  const sum = found.get(to);
  found.set(to, sum ? add(sum, part) : part);
}

/** Every tensor with a node behind `root`, latest first; nothing of or behind `until`. */
export function tapeBehind(root: Tensor, until: ReadonlySet<Tensor> = new Set()): Tensor[] {
  const seen = new Set<Tensor>();
  const stack = [root];
  while (stack.length > 0) {
    const tensor = stack.pop()!;
    if (!tensor.node || seen.has(tensor) || until.has(tensor)) continue;
    seen.add(tensor);
    stack.push(...tensor.node.inputs);
  }
  return [...seen].sort((a, b) => b.node!.order - a.node!.order);
}
