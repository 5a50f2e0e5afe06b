// Server-sent events as the server writes them: one `data` line each, behind an `event` line where they have names.

/** @param onBytes told of whatever comes, comments too */
export async function* eventsOf(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  onBytes: () => void = () => {},
): AsyncGenerator<{ name: string | undefined; data: string }, void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    text += value;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      const [, name, data] = /^(?:event: ([^\n]*)\n)?data: ([^\n]*)/.exec(block) ?? [];
      if (data !== undefined) yield { name, data };
    }
  }
}
