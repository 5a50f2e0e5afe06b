import { digestOf } from '@s3t/algorithm';
import type { DataRecord } from '@s3t/data';
import {
  type BaseModel,
  copyInputs,
  Ensemble,
  type Example,
  type FrozenStage,
  type HostInputs,
  hostInputs,
  type NextTokens,
  placeStage,
  type StageForm,
  unlessStopped,
} from '@s3t/model';
import { combine } from './combine.ts';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { measures, metricOf } from './evaluate.ts';
import { exampleOf } from './examples.ts';
import { encodeAll } from './predict.ts';
import { LESS_IS_BETTER, labelNumber, type MetricName, outputNames, TASKS } from './tasks.ts';
import type { Measures } from './types.ts';

/** What decides the best epoch of a stage: the measure asked for, or what answers are measured with. */
export function stoppingMetricOf(config: RunConfig): MetricName {
  return config.training.earlyStopping?.metric ?? metricOf(config);
}

/** The evaluation data where it decides how long stages are trained: every record's label and content, in order. */
export function evaluationDigest(records: readonly DataRecord[]): string {
  return digestOf(records.map(({ digest }) => digest));
}

/**
 * Measures a stage in training, below its prefix and by itself, on the evaluation data: nobody's records to delete, and the same for every
 * stage. The numbers are those that the stack would be served with.
 */
export class StageMeter {
  readonly #parts: { base: BaseModel; form: StageForm; config: RunConfig };
  readonly #records: readonly DataRecord[];
  /** What the base reads of the records, once it was computed. */
  #encoded: Promise<Encoded> | null = null;

  constructor(
    parts: { base: BaseModel; form: StageForm; config: RunConfig },
    records: readonly DataRecord[],
  ) {
    this.#parts = parts;
    this.#records = records;
  }

  /**
   * How good a stack is: more is better, NaN where the measure is undefined.
   * @param stages top-down
   * @param turn awaited before each batch: what is more urgent goes first
   */
  async score(
    stages: readonly FrozenStage[],
    turn: () => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { base, form, config } = this.#parts;
    const encoded = await unlessStopped(this.#encode(), signal);
    const placed = stages.map(({ layers, values }) => ({
      layers,
      ...placeStage(base.device, form, layers, values, 'serve'),
    }));
    const ensemble = new Ensemble(base, [{ shard: 0, stages: placed }], form.outputs);
    const next = async () => {
      await turn();
      signal?.throwIfAborted();
    };
    try {
      const found: Measures = Array.isArray(encoded)
        ? await this.#tokenMeasures(ensemble, encoded, next)
        : await this.#measures(ensemble, encoded, next);
      const metric = stoppingMetricOf(config);
      const value = found[metric] ?? Number.NaN;
      return LESS_IS_BETTER.has(metric) ? -value : value;
    } finally {
      ensemble.dispose();
      for (const { parameters } of placed) for (const tensor of parameters.values()) tensor.destroy();
    }
  }

  #encode(): Promise<Encoded> {
    if (this.#encoded) return this.#encoded;
    const encoding = encode(this.#parts, this.#records);
    this.#encoded = encoding;
    // Tried again next time: what a record names may be put right.
    encoding.catch(() => {
      this.#encoded = null;
    });
    return encoding;
  }

  async #measures(ensemble: Ensemble, inputs: HostInputs, next: () => Promise<void>) {
    const { base, form, config } = this.#parts;
    const { outputs } = form;
    const { inputs: fields } = base.network.architecture;
    const { learns } = TASKS[config.task];
    const count = this.#records.length;
    const logits = new Float32Array(count * outputs);
    for (let from = 0; from < count; from += ensemble.largestBatch) {
      await next();
      const rows = Math.min(ensemble.largestBatch, count - from);
      const batch = hostInputs(fields, rows);
      copyInputs(fields, inputs, from, rows, batch, 0);
      const [values] = await ensemble.forward(batch, rows);
      logits.set(values!, from * outputs);
    }
    const expected = this.#records.map((record) => labelNumber(record, config));
    const said = expected.map((_, row) =>
      learns === 'number' ? logits[row]! : combine([logits], row, outputs)[0]!.label,
    );
    const asked = {
      learns: learns as 'class' | 'number',
      metric: stoppingMetricOf(config),
      classes: outputNames(config).length,
    };
    return measures(said, expected, asked);
  }

  async #tokenMeasures(ensemble: Ensemble, texts: readonly Text[], next: () => Promise<void>) {
    const total = { loss: 0, right: 0, tokens: 0 };
    for (const { inputs, foretold } of texts) {
      await next();
      const { ensemble: score, tokens } = await ensemble.tokenScores(inputs, foretold);
      total.loss += score.loss * tokens;
      total.right += score.right;
      total.tokens += tokens;
    }
    return { accuracy: total.right / total.tokens, perplexity: Math.exp(total.loss / total.tokens) };
  }
}

/** A text of a language model's evaluation data, and what of it counts. */
interface Text {
  inputs: HostInputs;
  foretold: NextTokens;
}

/** Of a language model its texts, of others all records side by side. */
type Encoded = HostInputs | Text[];

async function encode(
  { base, config }: { base: BaseModel; config: RunConfig },
  records: readonly DataRecord[],
): Promise<Encoded> {
  const examples: Example[] = [];
  for (const record of records) examples.push(await exampleOf(record, config));
  const { language } = base;
  if (!language) return encodeAll(base, examples);
  const texts = examples
    .map((example) => ({
      inputs: base.encode(example),
      foretold: language.nextTokens(example, config.training.learn ?? 'all'),
    }))
    // Nothing of the others is foretold: their responses were cut off.
    .filter(({ foretold }) => foretold.weights.some((weight) => weight > 0));
  if (texts.length === 0)
    throw new UnlearnerError('data', `${config.data.eval}: no response fits into data.maxLength`);
  return texts;
}
