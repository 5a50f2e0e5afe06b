// Dawn in Node asks its device what is finished from `setImmediate`, and asks again at once while any promise is pending. On a software adapter
// that takes a core from the work it waits for, and each time leaves a function with a finaliser to the garbage collector: after some seconds of
// serving, destroying them held the thread for more than a tenth of a second. Dawn looks `setImmediate` up in the global object, so that it
// can be given a slower one there.

/** A GPU is done sooner: so long it is asked all the time. */
const SPIN_MS = 0.5;
/** After that: the shortest time of a timer. */
const PAUSE_MS = 1;
/** Without a question for so long, the next one begins another wait. */
const APART_MS = 5;

/** On a function that paces already: this module may be loaded twice. */
const PACES = Symbol.for('s3t.paces');

type SetImmediate = (callback: (...args: unknown[]) => void, ...args: unknown[]) => unknown;

/** Dawn's questions are functions that a native module made, without a name or parameters. The resolve of a promise, say, has no prototype. */
function isTick(callback: unknown, args: readonly unknown[]): callback is () => void {
  return (
    typeof callback === 'function' &&
    args.length + callback.length === 0 &&
    callback.name === '' &&
    Object.hasOwn(callback, 'prototype') &&
    Function.prototype.toString.call(callback).endsWith('{ [native code] }')
  );
}

/** Has Dawn ask less often. Others who call `setImmediate` get what they did. Once is enough for a process. */
export function paceTicks(target: { setImmediate: SetImmediate } = globalThis as never): void {
  const { setImmediate } = target;
  if (PACES in setImmediate) return;
  let [began, latest] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const paced: SetImmediate = (callback, ...args) => {
    if (!isTick(callback, args)) return setImmediate(callback, ...args);
    const now = performance.now();
    if (now - latest > APART_MS) began = now;
    latest = now;
    return now - began < SPIN_MS ? setImmediate(callback) : setTimeout(callback, PAUSE_MS);
  };
  // `util.promisify` looks for its own version among them.
  Object.defineProperties(paced, Object.getOwnPropertyDescriptors(setImmediate));
  target.setImmediate = Object.assign(paced, { [PACES]: true });
}
