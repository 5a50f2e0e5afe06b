import type { Message } from './event-hub.ts';

/** A reader that falls this many messages behind is disconnected; it reconnects and gets everything afresh in `hello`. */
const MAX_BEHIND = 256;

export interface EventStreamOptions {
  subscribe(listener: (message: Message) => void): () => void;
  /** The first message. What happens while it is made is sent after it. */
  hello(): Promise<Message>;
  /** Asked before each message and each beat; the stream ends when it says no. */
  mayGoOn(): Promise<boolean>;
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
      start(controller) {
        let open = true;
        const send = (text: string): void => {
          controller.enqueue(encoder.encode(text));
          if ((controller.desiredSize ?? 0) <= 0) end();
        };
        /** One after the other, and each only while its reader may still be told. */
        let tail = Promise.resolve();
        const queue = (next: () => string | Promise<string>): void => {
          tail = tail
            .then(async () => {
              const text = await next();
              if (!(await options.mayGoOn())) end();
              else if (open) send(text);
            })
            // No status to start from: the client reconnects and asks again.
            .catch(end);
        };
        const stop = options.subscribe((message) => queue(() => encoded(message)));
        const beat = setInterval(() => queue(() => ': beat\n\n'), options.heartbeatMs);
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
        queue(async () => encoded(await options.hello()));
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
