// GLUE (Wang et al. 2019) and SuperGLUE (Wang et al. 2019b) as the public code trains them: fields as the hub names them.

import type { Row } from '@s3t/data';

/** A row of a task as it is published. */
export type TaskRow = Pick<Row, 'get'>;

/** An example as a run reads it: one text, or two. */
export interface TaskExample {
  /** Told apart from others of the same row. */
  part?: number;
  texts: readonly string[];
  /** A class by its number, or of a regression a number. */
  label: number;
}

export interface TextTask {
  benchmark: 'glue' | 'superglue';
  name: string;
  /** On the hub. */
  hub: string;
  /** Names of the classes, by number; none of a regression. */
  labels: readonly string[];
  metric: 'accuracy' | 'matthews' | 'pearson';
  /** How many texts an example has. */
  texts: 1 | 2;
  /** Whether texts are joined to one. */
  isJoined: boolean;
  /** @param separator the token of the base between two texts, where they are joined */
  examples(row: TaskRow, separator: string): TaskExample[];
}

const text = (row: TaskRow, field: string): string => {
  const value = row.get(field);
  if (typeof value !== 'string') throw new TypeError(`field ${JSON.stringify(field)}: must be a text`);
  return value;
};

/** A class as a number, a truth value or its name; -1 where a test set hides it. */
function classOf(row: TaskRow, labels: readonly string[]): number {
  const label = row.get('label');
  if (typeof label === 'boolean') return Number(label);
  const number =
    typeof label === 'string' && labels.includes(label) ? labels.indexOf(label) : Number(label ?? Number.NaN);
  if (Number.isInteger(number) && number >= 0 && number < labels.length) return number;
  throw new TypeError(`field "label": ${JSON.stringify(label)} is none of ${labels.join(', ')}`);
}

function numberOf(row: TaskRow): number {
  const label = row.get('label');
  const number = typeof label === 'string' && label.trim() === '' ? Number.NaN : Number(label ?? Number.NaN);
  if (Number.isFinite(number)) return number;
  throw new TypeError(`field "label": ${JSON.stringify(label)} is no number`);
}

/** A task whose texts are fields as they are. */
function plain(
  benchmark: TextTask['benchmark'],
  name: string,
  fields: readonly [string] | readonly [string, string],
  labels: readonly string[],
  metric: TextTask['metric'] = 'accuracy',
): TextTask {
  return {
    ...{ benchmark, name, hub: HUBS[benchmark], labels, metric, texts: fields.length, isJoined: false },
    examples: (row) => [
      {
        texts: fields.map((field) => text(row, field)),
        label: labels.length === 0 ? numberOf(row) : classOf(row, labels),
      },
    ],
  };
}

/** A task that is rewritten to one text: its parts joined with the separator. */
function joined(name: string, parts: (row: TaskRow) => readonly string[]): TextTask {
  const labels = ['false', 'true'];
  return {
    ...{
      benchmark: 'superglue',
      name,
      hub: HUBS.superglue,
      labels,
      metric: 'accuracy',
      texts: 1,
      isJoined: true,
    },
    examples: (row, separator) => [
      { texts: [parts(row).join(` ${separator} `)], label: classOf(row, labels) },
    ],
  };
}

const HUBS = { glue: 'nyu-mll/glue', superglue: 'aps/super_glue' };
const ENTAILED = ['entailment', 'not_entailment'];

export const TEXT_TASKS: readonly TextTask[] = [
  plain('glue', 'cola', ['sentence'], ['unacceptable', 'acceptable'], 'matthews'),
  plain('glue', 'sst2', ['sentence'], ['negative', 'positive']),
  plain('glue', 'mrpc', ['sentence1', 'sentence2'], ['not_equivalent', 'equivalent']),
  plain('glue', 'stsb', ['sentence1', 'sentence2'], [], 'pearson'),
  plain('glue', 'qqp', ['question1', 'question2'], ['not_duplicate', 'duplicate']),
  plain('glue', 'mnli', ['premise', 'hypothesis'], ['entailment', 'neutral', 'contradiction']),
  plain('glue', 'qnli', ['question', 'sentence'], ENTAILED),
  plain('glue', 'rte', ['sentence1', 'sentence2'], ENTAILED),
  plain('superglue', 'boolq', ['question', 'passage'], ['False', 'True']),
  plain('superglue', 'cb', ['premise', 'hypothesis'], ['entailment', 'contradiction', 'neutral']),
  {
    ...{ benchmark: 'superglue', name: 'copa', hub: HUBS.superglue, labels: ['false', 'true'] },
    ...{ metric: 'accuracy', texts: 1, isJoined: true },
    // Two binary examples: is this choice the cause, or the effect, of the premise?
    examples: (row, separator) =>
      [text(row, 'choice1'), text(row, 'choice2')].map((choice, part) => ({
        part,
        texts: [[text(row, 'premise'), text(row, 'question'), choice].join(` ${separator} `)],
        label: Number(classOf(row, ['choice1', 'choice2']) === part),
      })),
  },
  joined('multirc', (row) => [text(row, 'paragraph'), text(row, 'question'), text(row, 'answer')]),
  joined('wic', (row) => [text(row, 'sentence1'), text(row, 'sentence2'), text(row, 'word')]),
  joined('wsc', (row) => {
    // As published by its authors, the spans lie in an object of their own.
    const target = row.get('target') as Record<string, unknown> | undefined;
    const spans: TaskRow = target ? { get: (field) => target[field] } : row;
    return [text(row, 'text'), text(spans, 'span2_text'), text(spans, 'span1_text')];
  }),
];
