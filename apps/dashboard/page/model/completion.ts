// A language model's continuation of a text, as it comes.
import { ApiError, request } from './api.ts';
import { eventsOf } from './sse.ts';
import type { Served } from './types.ts';

/** How a text is to go on. */
interface Asked {
  model: string;
  prompt: string;
  max_tokens: number;
  /** 0 is greedy. */
  temperature: number;
}

interface Completion {
  served: Served;
  /** @throws ApiError where an erasure changes what is served */
  pieces: AsyncGenerator<{ text: string; finish: 'stop' | 'length' | null }, void, undefined>;
}

/** Continues a text, once its first piece is there; `signal` stops it, on the server too. */
export async function complete(asked: Asked, signal: AbortSignal): Promise<Completion> {
  const { headers, body } = await request('/v1/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...asked, seed: 0, stream: true }),
    signal,
  });
  const served = {
    version: Number(headers.get('x-s3t-version')),
    manifest: headers.get('x-s3t-manifest') ?? '',
  };
  return { served, pieces: piecesOf(body!) };
}

async function* piecesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): Completion['pieces'] {
  for await (const { data } of eventsOf(body)) {
    if (data === '[DONE]') return;
    const { choices, error } = JSON.parse(data);
    if (error) throw new ApiError(error.message, 503);
    for (const { text, finish_reason: finish } of choices) yield { text, finish };
  }
}
