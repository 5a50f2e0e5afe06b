import { tapeBehind } from './gradients.ts';
import { scope } from './scope.ts';
import { isRecording, nextOrder } from './tape.ts';
import type { Tensor } from './tensor.ts';

/**
 * Runs a part of a net without keeping what it computes on the way; the backward pass computes it again (Chen et al. 2016).
 * Memory falls to the part's output, time rises by one forward pass. Values and gradients have the bits they have without.
 *
 * `body` may use parameters and tensors around it, besides `inputs`. It runs a second time during `gradients`: what it reads
 * must not have changed by then, and must not have been disposed. It may be captured.
 *
 * @example
 * for (const block of blocks) x = checkpoint((x) => block.forward(x), [x]);
 */
export function checkpoint(body: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  const run = () => body(...inputs);
  if (!isRecording()) return scope(run);
  const began = nextOrder();
  let around: Tensor[] = [];
  const output = scope(() => {
    const result = run();
    around = tensorsAround(result, began);
    // The tape of the body ends here: a view without it is what outlives the scope.
    return around.length > 0 ? result.detach() : result;
  });
  if (around.length === 0) return output;
  output.node = {
    operation: 'checkpoint',
    order: nextOrder(),
    inputs: around,
    wanted: around.map(() => true),
    saved: [],
    backward: () => [],
    recompute: run,
  };
  return output;
}

/** The tensors that gradients reach through `result` and that were there before: trainable ones, and those with an older tape. */
function tensorsAround(result: Tensor, began: number): Tensor[] {
  const isOlder = ({ node }: Tensor) => node === null || node.order < began;
  if (isOlder(result)) return result.isTracked ? [result] : [];
  const found = new Set<Tensor>();
  for (const { node } of tapeBehind(result))
    if (node!.order > began)
      for (const input of node!.inputs) if (input.isTracked && isOlder(input)) found.add(input);
  return [...found];
}
