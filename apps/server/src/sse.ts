import type { Message } from './event-hub.ts';

/** Reads server-sent events as this server writes them: one `data` line of JSON each. Comments and `retry` are skipped. */
export async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  for await (const { event, data } of blocksOf(body))
    if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) };
}

/** Reads a stream of OpenAI's, which names no events, up to its `[DONE]`. */
export async function* parseChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown> {
  for await (const { data } of blocksOf(body)) {
    if (data === '[DONE]') return;
    if (data !== undefined) yield JSON.parse(data);
  }
}

interface Block {
  event: string | undefined;
  data: string | undefined;
}

async function* blocksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Block> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const block = parsed(text.slice(0, end));
      text = text.slice(end + 2);
      yield block;
    }
  }
}

function parsed(block: string): Block {
  const fields = new Map(
    block.split('\n').map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
  );
  return { event: fields.get('event'), data: fields.get('data') };
}
