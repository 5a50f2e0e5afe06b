import type { DataRecord } from '@s3t/data';
import { hostInputs } from '@s3t/model';
import { evaluate } from './evaluate.ts';
import { type ContinueOptions, continueText } from './generation.ts';
import type { OpenedRun } from './open-run.ts';
import { forward, predict } from './predict.ts';
import type { RightOfWay } from './right-of-way.ts';
import type { Serving } from './serving.ts';
import type { Evaluation, GenerationPiece, Input, Prediction, Prompt } from './types.ts';

/** Answers from what a run serves: predictions, continued texts, and how good they are. */
export class Answering {
  readonly #parts: Parameters<typeof predict>[0];
  /** How many texts are continued together. */
  readonly #slots: number;

  constructor(opened: OpenedRun, serving: Serving, erasures: RightOfWay) {
    this.#slots = opened.textSlots;
    this.#parts = { serving, erasures, base: opened.base, config: opened.located.config };
  }

  predict(inputs: readonly Input[]): Promise<Prediction> {
    return predict(this.#parts, inputs);
  }

  continueText(input: Prompt, options: ContinueOptions): AsyncGenerator<GenerationPiece, void, undefined> {
    return continueText({ ...this.#parts, slots: this.#slots }, input, options);
  }

  evaluate(records: readonly DataRecord[]): Promise<Evaluation> {
    return evaluate(this.#parts, records);
  }

  /** Answers made-up records, in batches of every size and length. */
  async rehearse(): Promise<void> {
    const { base, serving, erasures } = this.#parts;
    const { inputs } = base.network.architecture;
    if (base.language) {
      // One text goes on alone, then the others with it.
      const texts = serving.served?.ensemble.texts({ slots: this.#slots, turn: () => erasures.clear() });
      const one = async () => {
        for await (const _ of texts?.generate([0], { maxTokens: 3, endTokens: [] }) ?? []);
      };
      await Promise.all(Array.from({ length: this.#slots }, one));
    } else {
      await serving.served?.ensemble.prepare();
      for (const count of serving.served?.ensemble.batchSizes ?? [])
        for (const tokens of base.buckets)
          await forward(this.#parts, hostInputs(inputs, count), count, tokens);
    }
    await base.device.idle();
  }
}
