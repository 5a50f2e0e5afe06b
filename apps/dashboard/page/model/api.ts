// Requests to the server this page came from, with the key it was signed in with.
import type { Answer, Point, Receipt, RepairState, Status, Target } from './types.ts';

const KEY = 's3t-key';

/** The API key: kept until the tab is closed, and nowhere else. */
export const session = {
  get key(): string | null {
    return sessionStorage.getItem(KEY);
  },
  signIn(key: string): void {
    sessionStorage.setItem(KEY, key);
  },
  signOut(): void {
    sessionStorage.removeItem(KEY);
  },
};

/** What the server said was wrong; `status` 0 where it said nothing. */
export class ApiError extends Error {
  readonly status: number;
  /** The field at fault. */
  readonly path: string | undefined;

  constructor(message: string, status: number, path?: string) {
    super(message);
    this.status = status;
    this.path = path;
  }
}

/** @throws ApiError */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const { key } = session;
  const headers = new Headers(init.headers);
  if (key !== null) headers.set('Authorization', `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError('The server cannot be reached.', 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered ${response.status}`;
  throw new ApiError(message, response.status, body?.error?.path);
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  return (await request(path, init)).json();
}

function post<T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  if (body === undefined) return json<T>(path, { method: 'POST', headers });
  const all = { 'Content-Type': 'application/json', ...headers };
  return json<T>(path, { method: 'POST', headers: all, body: JSON.stringify(body) });
}

export const api = {
  status: (signal: AbortSignal) => json<Status>('/v1/status', { signal }),
  /** Of erasures that are acknowledged, newest first: the others come as events. */
  receipts: async (signal: AbortSignal) => {
    type Erasures = { erasures: (Receipt & { state: string })[] };
    const { erasures } = await json<Erasures>('/v1/erasures?limit=1000', { signal });
    return erasures.filter(({ state }) => state !== 'deactivated');
  },
  receiptFile: async (erasure: string) =>
    new Uint8Array(
      await (await request(`/v1/erasures/${encodeURIComponent(erasure)}/receipt`)).arrayBuffer(),
    ),
  history: async (signal: AbortSignal) => (await json<{ points: Point[] }>('/v1/history', { signal })).points,
  measure: () => post<Point>('/v1/history'),
  repair: (action: '' | '/pause' | '/resume' = '') => post<RepairState>(`/v1/repair${action}`),
  preview: (target: Target) => post<Receipt>('/v1/erasures', { ...target, dryRun: true }),
  /** The same, and how good what would be served then is. */
  expected: async (target: Target) =>
    (await post<Receipt>('/v1/erasures', { ...target, dryRun: true, evaluate: true })).expected,
  /** @param key sent again with the same target, it erases nothing twice */
  erase: (target: Target, key: string) => post<Receipt>('/v1/erasures', target, { 'Idempotency-Key': key }),
  publicKey: async () => (await (await request('/v1/log/key')).text()).trim(),
  checkpoint: async () => (await request('/v1/log/checkpoint')).text(),
  consistency: async (from: number, to: number) =>
    (await json<{ hashes: string[] }>(`/v1/log/consistency?from=${from}&to=${to}`)).hashes,
  predict: (input: unknown) => post<Answer>('/v1/predict', { inputs: [input] }),
  /** What is served, and what its run does. */
  model: async () => (await json<{ data: [{ id: string; task: string }] }>('/v1/models')).data[0],
  /** What the model takes, as the Open Inference Protocol names it. */
  inputs: async (model: string): Promise<string[]> => {
    const about = await json<{ inputs: { name: string }[] }>(`/v2/models/${encodeURIComponent(model)}`);
    return about.inputs.map(({ name }) => name);
  },
};

/** `crypto.randomUUID` is missing on pages served over plain HTTP. */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
