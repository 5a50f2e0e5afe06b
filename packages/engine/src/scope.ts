import type { Tensor } from './tensor.ts';

const stack: Set<Tensor>[] = [];

/** Registers a fresh tensor with the innermost scope. */
export function register(tensor: Tensor): void {
  stack.at(-1)?.add(tensor);
}

/** Takes a tensor out of the current scope: it lives until it is disposed. */
export function keep<T extends Tensor>(tensor: T): T {
  for (const scope of stack) scope.delete(tensor);
  return tensor;
}

/**
 * Runs `body` and disposes every tensor made in it, except those in what it returns (a tensor, or tensors in arrays
 * and plain objects), which pass to the scope around it.
 */
export function scope<T>(body: () => T): T {
  const made = new Set<Tensor>();
  stack.push(made);
  try {
    const result = body();
    if (result instanceof Promise) throw new TypeError('scope(): the body must not be asynchronous');
    for (const tensor of tensorsIn(result)) {
      if (made.delete(tensor)) stack.at(-2)?.add(tensor);
    }
    return result;
  } finally {
    stack.pop();
    for (const tensor of made) tensor.dispose();
  }
}

/** Runs `body` in a scope; returns its result and those tensors in it that were made in `body`, which belong to no scope then. */
export function collect<T>(body: () => T): { result: T; made: ReadonlySet<Tensor> } {
  const made = new Set<Tensor>();
  stack.push(made);
  try {
    return { result: scope(body), made };
  } finally {
    stack.pop();
  }
}

/** The tensors in a value made of arrays and plain objects. */
function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value === null || typeof value !== 'object') return;
  if (isTensor(value)) yield value;
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) yield* tensorsIn(item);
}

function isTensor(value: object): value is Tensor {
  return 'storage' in value && 'shape' in value && 'dispose' in value;
}
