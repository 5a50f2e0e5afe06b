import type { App } from '../app.ts';

/** POSTs JSON to an app that does not listen. */
export async function post(
  app: App,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return app.request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: text,
  });
}

/** An input whose answer names `first`. */
export function image(first: number): { image: { width: number; height: number; pixels: number[] } } {
  return { image: { width: 2, height: 2, pixels: [first, 0, 0, 0] } };
}

/** A promise and how to resolve it. */
export function gate(): { opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** Lets everything that is ready run. */
export function settle(ms = 5): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
