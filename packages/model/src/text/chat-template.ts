import { Template } from '@huggingface/jinja';
import { ModelError } from '../errors.ts';

export interface ChatMessage {
  role: string;
  content: string;
}

/** The special tokens that a template may name. */
const TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);
/** What transformers tells a template where there is none: "is none" holds then, and "is defined" does, too. */
const NOTHING = { tools: null, documents: null };

/** Renders conversations as a model was trained to read them. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #values: Record<string, string>;
  readonly #file: string;

  /**
   * @param config content of tokenizer_config.json: its chat_template (of several the one that is named "default") and its special
   * tokens
   * @param file what errors name
   * @throws ModelError when there is no template or it cannot be read
   */
  constructor(config: Record<string, unknown>, file: string) {
    const { chat_template: given } = config;
    const text = Array.isArray(given) ? given.find((one) => one?.name === 'default')?.template : given;
    if (typeof text !== 'string') throw new ModelError(`${file}: field chat_template must be a text`);
    this.#file = file;
    this.#values = {};
    for (const name of TOKENS) {
      const token = config[name];
      const content = typeof token === 'object' ? (token as { content?: unknown } | null)?.content : token;
      if (typeof content === 'string') this.#values[name] = content;
    }
    try {
      this.#template = new Template(text);
    } catch (cause) {
      throw this.#failure('cannot be read', cause);
    }
  }

  /**
   * @param generate whether the text ends where the model's answer begins
   * @throws ModelError with what the template says against the conversation
   */
  render(messages: readonly ChatMessage[], generate: boolean): string {
    try {
      const values = { ...this.#values, ...NOTHING };
      return this.#template.render({ ...values, messages, add_generation_prompt: generate });
    } catch (cause) {
      throw this.#failure('refuses the conversation', cause);
    }
  }

  #failure(problem: string, cause: unknown): ModelError {
    const reason = String((cause as Error).message)
      .split('\n')[0]!
      .slice(0, 200);
    return new ModelError(`${this.#file}: field chat_template ${problem} (${reason})`, { cause });
  }
}
