import type { Message } from './event-hub.ts';

/** A reader that falls this many messages behind is disconnected; it reconnects and gets everything afresh in `hello`. */
const MAX_BEHIND = 256;

export interface EventStreamOptions {
  subscribe(listener: (message: Message) => void): () => void;
  /** The first message. What happens while it is made is sent after it. */
  hello(): Promise<Message>;
  heartbeatMs: number;
  /** Ends the stream. */
  signal: AbortSignal;
  onClose(): void;
}

/** Server-sent events as the body of a response: `hello`, then whatever `subscribe` brings, and a comment when nothing does. */
export function eventStream(options: EventStreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let close = (): void => {};
  return new ReadableStream<Uint8Array>(
    {
      async start(controller) {
        let early: Message[] | undefined = [];
        const send = (text: string): void => {
          controller.enqueue(encoder.encode(text));
          if ((controller.desiredSize ?? 0) <= 0) end();
        };
        const stop = options.subscribe((message) => {
          if (early === undefined) send(encoded(message));
          else early.push(message);
        });
        const beat = setInterval(() => send(': beat\n\n'), options.heartbeatMs);
        let open = true;
        close = () => {
          if (!open) return;
          open = false;
          stop();
          clearInterval(beat);
          options.signal.removeEventListener('abort', end);
          options.onClose();
        };
        function end(): void {
          if (!open) return;
          close();
          controller.close();
        }
        options.signal.addEventListener('abort', end);
        if (options.signal.aborted) return end();
        send('retry: 1000\n\n');
        try {
          const hello = await options.hello();
          const waiting = early;
          early = undefined;
          for (const message of [hello, ...waiting]) if (open) send(encoded(message));
        } catch {
          // No status to start from: the client reconnects and asks again.
          end();
        }
      },
      cancel: () => close(),
    },
    new CountQueuingStrategy({ highWaterMark: MAX_BEHIND }),
  );
}

function encoded({ event, data }: Message): string {
  // JSON has no line breaks, so one `data:` line holds it.
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
