import type { ContinueOptions, GenerationPiece, Prompt } from '@s3t/unlearner';
import { type Context, Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type * as v from 'valibot';
import { readBody } from '../body.ts';
import { type Shared, stamp } from '../context.ts';
import { openaiError } from '../dialect.ts';
import {
  CHAT,
  type ChatBody,
  COMPLETION,
  chatAnswerSchema,
  chatSchema,
  completionAnswerSchema,
  completionSchema,
  conversationOf,
  optionsOf,
  promptOf,
  type Style,
  usageOf,
} from '../openai-text.ts';
import { json, problemsAs } from '../openapi.ts';
import { Problem, problemOf } from '../problem.ts';
import { errorSchema } from './openai.ts';

/** Where max_tokens is left out, as OpenAI has it. A chat goes on until it ends. */
const COMPLETION_TOKENS = 16;
/** An answer that is asked for whole begins again when stages are deactivated, so often. */
const MAX_TRIES = 4;
/** Pieces of a stream after which its key is looked at again. */
const ASK_EVERY = 16;

/** What is to be answered, and how. */
interface Wanted {
  style: Style;
  prompt: Prompt;
  options: ContinueOptions;
  stream: boolean;
  includeUsage: boolean;
}

/** `/v1/completions` and `/v1/chat/completions` as OpenAI has them, of a run whose task is causal-lm. */
export function openaiTextRoutes(shared: Shared): Hono {
  const { access, options: app } = shared;
  const routes = new Hono();
  routes.post('/v1/completions', access.allow('inference'), describeCompletion, async (c) => {
    const body = await readBody(c, completionSchema, { fields: ['prompt'], items: 1 });
    assertModel(body.model);
    return answerWith(shared, c, {
      ...streamOf(body),
      style: COMPLETION,
      prompt: promptOf(body),
      options: optionsOf(body, body.max_tokens ?? COMPLETION_TOKENS),
    });
  });
  routes.post('/v1/chat/completions', access.allow('inference'), describeChat, async (c) => {
    const body = await readBody(c, chatSchema, { fields: ['messages'], items: 1000 });
    assertModel(body.model);
    return answerWith(shared, c, {
      ...streamOf(body),
      style: CHAT,
      prompt: conversationOf(body),
      options: optionsOf(body, body.max_completion_tokens ?? body.max_tokens ?? undefined),
    });
  });
  return routes;

  function assertModel(model: string): void {
    if (model !== app.modelName)
      throw new Problem(404, 'model_not_found', 'there is no such model here; see /v1/models', {
        path: 'model',
      });
  }
}

function streamOf({ stream, stream_options }: Pick<ChatBody, 'stream' | 'stream_options'>) {
  return { stream: stream === true, includeUsage: stream_options?.include_usage === true };
}

function answerWith(shared: Shared, c: Context, wanted: Wanted): Promise<Response> {
  return wanted.stream ? streamed(shared, c, wanted) : whole(shared, c, wanted);
}

/** The fields that an answer and its pieces share. */
function headOf({ options }: Shared, { style, stream }: Wanted, manifest: string) {
  return {
    id: `${style.prefix}${crypto.randomUUID()}`,
    object: stream ? style.chunk : style.object,
    created: Math.floor(Date.now() / 1000),
    model: options.modelName,
    system_fingerprint: manifest,
  };
}

/**
 * The whole answer, of whose stages none is deactivated as it leaves: see `computed` in answer.ts, whose reasoning is the same. The
 * caller returns it without awaiting anything.
 */
async function whole(shared: Shared, c: Context, wanted: Wanted): Promise<Response> {
  const { generations, egress, metrics, service } = shared;
  for (let tries = 1; ; tries++) {
    const pieces: GenerationPiece[] = [];
    try {
      for await (const piece of generations.run(wanted.prompt, wanted.options, c.req.raw.signal)) {
        metrics.tokens.add();
        pieces.push(piece);
      }
    } catch (error) {
      const { code } = problemOf(error);
      const isSuperseded = code === 'superseded' || code === 'unavailable';
      if (!isSuperseded || service.servedVersion === null || tries >= MAX_TRIES) throw error;
      metrics.recomputed.add();
      continue;
    }
    const { version, manifest, finish, promptTokens } = pieces.at(-1)!;
    if (!generations.mayLeave(version)) continue;
    egress.track(c.env, version);
    stamp(c, { version, manifest });
    return c.json({
      ...headOf(shared, wanted, manifest),
      choices: [wanted.style.whole(pieces.map(({ text }) => text).join(''), finish!)],
      usage: usageOf(promptTokens, pieces.length),
    });
  }
}

/** The answer piece by piece, as server-sent events. What is wrong before the first piece has a status of its own. */
async function streamed(shared: Shared, c: Context, wanted: Wanted): Promise<Response> {
  const { access, generations, egress, metrics, options } = shared;
  const gone = new AbortController();
  const { signal } = c.req.raw;
  if (signal.aborted) gone.abort();
  signal.addEventListener('abort', () => gone.abort());
  const pieces = generations.run(wanted.prompt, wanted.options, gone.signal);
  let next: IteratorResult<GenerationPiece, void> | null = await pieces.next();
  const { version, manifest } = next.value!;
  const head = headOf(shared, wanted, manifest);
  const encoder = new TextEncoder();
  let [promptTokens, tokens] = [0, 0];
  /** The next events; empty where no text has become certain. */
  const take = async (): Promise<{ events: object[]; isLast: boolean }> => {
    // Before the piece is there, and not after: what is there leaves at once.
    if (tokens > 0 && tokens % ASK_EVERY === 0 && !(await access.isStillIn(c))) {
      await pieces.return();
      throw new Problem(401, 'wrong-key', 'this API key is not known here any more');
    }
    const { value, done } = next ?? (await pieces.next());
    next = null;
    if (done) {
      const usage = { ...head, choices: [], usage: usageOf(promptTokens, tokens) };
      return { events: wanted.includeUsage ? [usage] : [], isLast: true };
    }
    const isFirst = tokens++ === 0;
    metrics.tokens.add();
    promptTokens = value.promptTokens;
    if (value.text === '' && value.finish === null && !isFirst) return { events: [], isLast: false };
    const choice = wanted.style.piece(value.text, value.finish, isFirst);
    const usage = wanted.includeUsage ? { usage: null } : {};
    return { events: [{ ...head, choices: [choice], ...usage }], isLast: false };
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const send = (data: string) => controller.enqueue(encoder.encode(`data: ${data}\n\n`));
        try {
          for (;;) {
            const { events, isLast } = await take();
            for (const event of events) send(JSON.stringify(event));
            if (isLast) {
              send('[DONE]');
              controller.close();
            }
            if (isLast || events.length > 0) return;
          }
        } catch (error) {
          if (gone.signal.aborted) return;
          // No status can be given any more: clients look for an error in the stream.
          send(JSON.stringify(openaiError(problemOf(error))));
          controller.close();
        }
      },
      async cancel() {
        gone.abort();
        await pieces.return();
      },
    },
    // Nothing is computed ahead of the reader: what lies ready could not be taken back.
    { highWaterMark: 0 },
  );
  // Whoever reads is told at the deadline that it has come; a connection that nobody reads from would stay for ever.
  egress.track(c.env, version, 2 * options.generationMs);
  stamp(c, { version, manifest });
  // `X-Accel-Buffering` keeps nginx from holding events back.
  return c.body(body, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' });
}

const describeCompletion = describe(
  'completion',
  'OpenAI: a text goes on',
  completionSchema,
  completionAnswerSchema,
);
const describeChat = describe(
  'chatCompletion',
  'OpenAI: a conversation goes on',
  chatSchema,
  chatAnswerSchema,
);

function describe(
  operationId: string,
  summary: string,
  body: v.GenericSchema<unknown>,
  answer: v.GenericSchema<unknown>,
): ReturnType<typeof describeRoute> {
  return describeRoute({
    operationId,
    summary,
    description:
      'Of a run whose task is causal-lm. With `stream` server-sent events that end with `data: [DONE]`; where an erasure deactivates stages, with an error instead, and nothing of the old ensemble follows its acknowledgement.',
    requestBody: { required: true, content: json(body) },
    responses: {
      200: {
        description: 'The text, or the stream of its pieces.',
        content: { ...json(answer), 'text/event-stream': { schema: { type: 'string' } } },
      },
      ...problemsAs(errorSchema, 400, 404, 413, 415, 503),
    },
  });
}
