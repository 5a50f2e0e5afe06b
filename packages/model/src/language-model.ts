import type { Device } from '@s3t/engine';
import { frozenType, type Placing } from './base-weights.ts';
import { CHAT_TEMPLATE, type Checkpoint, GENERATION_CONFIG, nameOf } from './checkpoint.ts';
import { ModelError } from './errors.ts';
import type { LlamaModel } from './generation/decoder.ts';
import {
  endTokensOf,
  LLAMA_PREFIX,
  learntEnd,
  llamaNetwork,
  llamaParameters,
  loadLlama,
  type NextTokens,
  nextTokens,
  parseLlamaConfig,
} from './llama.ts';
import type { BaseOptions, Example, Placed } from './model.ts';
import { type ChatMessage, ChatTemplate } from './text/chat-template.ts';
import { openTextBase } from './text/text-base.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** Which tokens of a prompt and its response are learnt: all of them, or the response's alone. */
export type Learnt = 'all' | 'response';

/** What a base that continues texts has besides its network. */
export interface LanguageModel extends LlamaModel {
  tokenizer: Tokenizer;
  /**
   * A conversation as the base was trained to read it, up to where its answer begins. The text has its special tokens.
   * @throws ModelError where the base has no chat template, or that refuses the conversation
   */
  chatPrompt(messages: readonly ChatMessage[]): string;
  /** The tokens that follow each of an example's, and which of them count. */
  nextTokens(example: Example, learnt: Learnt): NextTokens;
}

/** Puts a Llama on a device. @throws ModelError naming file and field */
export async function placeLlama(
  device: Device,
  checkpoint: Checkpoint,
  options: BaseOptions,
  placing: Placing,
): Promise<Placed> {
  const { folder } = checkpoint;
  const config = parseLlamaConfig(checkpoint.config, nameOf(checkpoint, 'config.json'));
  const endTokens = endTokensOf(
    config,
    checkpoint.companions.get(GENERATION_CONFIG),
    nameOf(checkpoint, GENERATION_CONFIG),
  );
  const { maxLength, buckets: wanted } = options;
  const { tokenizer, length, buckets, assertWithin } = openTextBase(
    checkpoint,
    config.max_position_embeddings,
    { maxLength, buckets: wanted },
  );
  const weights = await loadLlama(device, config, checkpoint.tensors, {
    quantization: frozenType(options.quantization),
    positions: length,
    ...placing,
  });

  /** The tokens of an example, the first `length` of them, and how many are the prompt's. A response ends the text. */
  const tokensOf = (example: Example): { ids: number[]; prompt: number } => {
    if ('image' in example) throw new ModelError(`${folder}: this base reads texts, not pictures`);
    let ids: number[];
    let prompt = 0;
    if ('prompt' in example) {
      const before = tokenizer.encode(example.prompt).ids;
      const { ids: response } = tokenizer.encode(example.response, { specialTokens: false });
      ids = [...before, ...response, ...learntEnd(config)];
      prompt = before.length;
    } else ids = tokenizer.encode(example.text).ids;
    assertWithin(ids, config.vocab_size, 'token');
    return { ids: ids.slice(0, length), prompt };
  };
  const rowOf = (ids: readonly number[]) => {
    const row = new Uint32Array(length);
    row.set(ids);
    return row;
  };
  let chat: ChatTemplate | undefined;
  return {
    network: llamaNetwork(config, weights, length),
    reads: 'text',
    parameters: llamaParameters(config),
    prefix: LLAMA_PREFIX,
    buckets,
    // What fills up could be a token itself: how many there are is told beside what the network takes.
    encode: (example) => {
      const { ids } = tokensOf(example);
      return { ids: rowOf(ids), length: Uint32Array.of(ids.length) };
    },
    lengthOf: (inputs) => inputs.length?.[0] ?? length,
    language: {
      device,
      config,
      weights,
      endTokens,
      activations: options.activations,
      tokenizer,
      chatPrompt(messages) {
        const own = checkpoint.companions.get(CHAT_TEMPLATE);
        const settings = { ...checkpoint.companions.get('tokenizer_config.json'), ...own };
        if (settings.chat_template == null) throw new ModelError('the base has no chat template');
        // Read on first need: who does not chat may have a base whose template is none. Named without its folder: clients are told.
        chat ??= new ChatTemplate(settings, own ? CHAT_TEMPLATE : 'tokenizer_config.json');
        return chat.render(messages, true);
      },
      nextTokens(example, learnt) {
        const { ids, prompt } = tokensOf(example);
        const first = learnt === 'response' ? prompt : 0;
        const counts = Array.from({ length }, (_, i) => i >= first && i < ids.length);
        return nextTokens(rowOf(ids), counts, length);
      },
    },
  };
}
