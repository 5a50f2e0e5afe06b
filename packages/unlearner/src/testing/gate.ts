import { vi } from 'vitest';

/** Delays one call of a method until `release` is called; `reached` resolves when it has been made. */
export function gate<T extends object>(
  of: T,
  method: keyof T & string,
  when: 'before' | 'after' = 'after',
): { reached: Promise<void>; release: () => void } {
  const original = of[method] as (...args: unknown[]) => Promise<unknown>;
  let release = () => {};
  const open = new Promise<void>((resolve) => {
    release = resolve;
  });
  let arrive = () => {};
  const reached = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  // biome-ignore lint/suspicious/noExplicitAny: vitest cannot name a method it is given by name
  vi.spyOn(of as any, method).mockImplementationOnce(async function (this: unknown, ...args: unknown[]) {
    const result = when === 'after' ? await original.apply(this, args) : null;
    arrive();
    await open;
    return when === 'after' ? result : original.apply(this, args);
  });
  return { reached, release };
}
