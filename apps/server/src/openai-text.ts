// Completions and chat completions as OpenAI's clients send and read them.
// https://platform.openai.com/docs/api-reference/chat
import type { ContinueOptions, Prompt } from '@s3t/unlearner';
import * as v from 'valibot';
import { fitTogether, MOST_OF_TEXT, TOO_LONG_TOGETHER, textSchema as text } from './text-limits.ts';

const tokens = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1_000_000));
const stop = v.pipe(v.string(), v.minLength(1), v.maxLength(200));

/** What both take. Of what is not done here, the value that asks for nothing is taken, because clients send it. */
const common = {
  model: v.pipe(v.string(), v.maxLength(255)),
  max_tokens: v.nullish(tokens),
  temperature: v.nullish(
    v.pipe(v.number(), v.minValue(0), v.maxValue(2), v.description('Default 1; 0 is greedy.')),
  ),
  top_p: v.nullish(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
  seed: v.nullish(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(0),
      v.maxValue(Number.MAX_SAFE_INTEGER),
      v.description(
        'Equal seeds and equal system_fingerprint give equal texts. Default: another one each time.',
      ),
    ),
  ),
  stop: v.nullish(v.union([stop, v.pipe(v.array(stop), v.maxLength(4))], 'expected a text, or up to four')),
  stream: v.nullish(v.boolean()),
  stream_options: v.nullish(v.strictObject({ include_usage: v.optional(v.boolean()) })),
  top_k: v.nullish(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(1_000_000),
      v.description('Not of OpenAI, but as other servers have it.'),
    ),
  ),
  repetition_penalty: v.nullish(
    v.pipe(v.number(), v.minValue(0.01), v.maxValue(100), v.description('As top_k.')),
  ),
  n: v.nullish(v.literal(1)),
  user: v.nullish(v.pipe(v.string(), v.description('Not looked at.'))),
  frequency_penalty: v.nullish(v.literal(0)),
  presence_penalty: v.nullish(v.literal(0)),
};

interface Common {
  model: string;
  max_tokens?: number | null | undefined;
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  top_k?: number | null | undefined;
  repetition_penalty?: number | null | undefined;
  seed?: number | null | undefined;
  stop?: string | string[] | null | undefined;
  stream?: boolean | null | undefined;
  stream_options?: { include_usage?: boolean | undefined } | null | undefined;
}
export interface CompletionBody extends Common {
  prompt: string | string[] | Record<string, string>;
}
interface MessageBody {
  role: string;
  content: string | { type: 'text'; text: string }[];
}
export interface ChatBody extends Common {
  messages: MessageBody[];
  max_completion_tokens?: number | null | undefined;
}

export const completionSchema: v.GenericSchema<CompletionBody> = v.strictObject({
  ...common,
  prompt: v.pipe(
    v.union([text, v.pipe(v.array(text), v.length(1)), v.record(v.string(), text)], 'expected a text'),
    v.check((prompt) => typeof prompt === 'string' || fitTogether(Object.values(prompt)), TOO_LONG_TOGETHER),
    v.description("A text; or, which OpenAI has not, a record's texts by field, without the response."),
  ),
  best_of: v.nullish(v.literal(1)),
  echo: v.nullish(v.literal(false)),
  suffix: v.nullish(v.literal('')),
  logprobs: v.nullish(v.literal(0)),
});

const part = v.strictObject({ type: v.literal('text'), text });
export const chatSchema: v.GenericSchema<ChatBody> = v.strictObject({
  ...common,
  max_completion_tokens: v.nullish(tokens),
  messages: v.pipe(
    v.array(
      v.strictObject({
        role: v.picklist(['system', 'developer', 'user', 'assistant']),
        content: v.union([text, v.pipe(v.array(part), v.minLength(1))], 'expected a text'),
      }),
    ),
    v.minLength(1),
    v.maxLength(1000),
    v.check((messages) => fitTogether(messages.map(textOf)), TOO_LONG_TOGETHER),
    v.description(`At most ${MOST_OF_TEXT} characters together.`),
  ),
  logprobs: v.nullish(v.literal(false)),
  response_format: v.nullish(v.strictObject({ type: v.literal('text') })),
});

/** What a completion goes on from. */
export function promptOf({ prompt }: CompletionBody): Prompt {
  if (typeof prompt === 'string') return prompt;
  return Array.isArray(prompt) ? prompt[0]! : { text: prompt };
}

/** What a chat shows the model. Parts of a message are one text. */
export function conversationOf({ messages }: ChatBody): Prompt {
  return {
    messages: messages.map((message) => ({ role: message.role, content: textOf(message) })),
  };
}

function textOf({ content }: MessageBody): string {
  return typeof content === 'string' ? content : content.map((each) => each.text).join('');
}

/** How a text is continued. Clients expect to be given another one each time, unless they say a seed. */
export function optionsOf(body: Common, maxTokens: number | undefined): ContinueOptions {
  const { temperature, top_p, top_k, repetition_penalty, seed, stop } = body;
  return {
    ...(maxTokens !== undefined && { maxTokens }),
    temperature: temperature ?? 1,
    topP: top_p ?? 1,
    ...(typeof top_k === 'number' && { topK: top_k }),
    ...(typeof repetition_penalty === 'number' && { repetitionPenalty: repetition_penalty }),
    seed: seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    stop: [stop ?? []].flat(),
  };
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export function usageOf(promptTokens: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

/** How the answers of an endpoint are written. */
export interface Style {
  prefix: string;
  object: string;
  chunk: string;
  /** The one choice of a whole answer. */
  whole(text: string, finish: string): object;
  /** The one choice of a piece. */
  piece(text: string, finish: string | null, isFirst: boolean): object;
}

export const COMPLETION: Style = {
  prefix: 'cmpl-',
  object: 'text_completion',
  chunk: 'text_completion',
  whole: (text, finish) => ({ index: 0, text, logprobs: null, finish_reason: finish }),
  piece: (text, finish) => ({ index: 0, text, logprobs: null, finish_reason: finish }),
};

export const CHAT: Style = {
  prefix: 'chatcmpl-',
  object: 'chat.completion',
  chunk: 'chat.completion.chunk',
  whole: (content, finish) => ({
    ...{ index: 0, message: { role: 'assistant', content, refusal: null } },
    ...{ logprobs: null, finish_reason: finish },
  }),
  piece: (content, finish, isFirst) => ({
    ...{ index: 0, delta: isFirst ? { role: 'assistant', content } : { content } },
    ...{ logprobs: null, finish_reason: finish },
  }),
};

const usageSchema = v.object({
  prompt_tokens: v.number(),
  completion_tokens: v.number(),
  total_tokens: v.number(),
});
const answerSchema = (object: string, choice: v.GenericSchema<unknown>) =>
  v.object({
    id: v.string(),
    object: v.literal(object),
    created: v.pipe(v.number(), v.description('Seconds since 1970.')),
    model: v.string(),
    system_fingerprint: v.pipe(v.string(), v.description('The digest of the manifest of what answered.')),
    choices: v.array(choice),
    usage: usageSchema,
  });
const ended = { index: v.number(), logprobs: v.null(), finish_reason: v.picklist(['stop', 'length']) };
export const completionAnswerSchema: v.GenericSchema<unknown> = answerSchema(
  COMPLETION.object,
  v.object({ ...ended, text: v.string() }),
);
export const chatAnswerSchema: v.GenericSchema<unknown> = answerSchema(
  CHAT.object,
  v.object({
    ...ended,
    message: v.object({ role: v.literal('assistant'), content: v.string(), refusal: v.null() }),
  }),
);
