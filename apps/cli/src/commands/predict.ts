import { inputFields, type Model } from '@s3t/server/client';
import type { ContinueOptions, Prediction, Unlearner } from '@s3t/unlearner';
import type { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { catchInterrupts } from '../interrupt.ts';
import { integer, JSON_OUTPUT, number, RUN, type RunOptions } from '../options.ts';
import { type Continuation, continueAll, type TextSource } from '../predict/continue.ts';
import { checkSources, type NamedInput, readInputs } from '../predict/input-files.ts';
import type { RemotePrediction } from '../remote.ts';
import { withRunOrServer } from '../run-access.ts';
import { short } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

interface Options extends RunOptions, Sampling {
  image?: string;
  top: number;
}

/** How texts are continued, in the names of the command line. */
interface Sampling {
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  repetitionPenalty?: number;
  stop?: string[];
  seed?: number;
}
const SAMPLING: readonly (keyof Sampling)[] = [
  'maxTokens',
  'temperature',
  'topK',
  'topP',
  'repetitionPenalty',
  'stop',
  'seed',
];

/** Inputs of one forward pass. */
const BATCH = 64;

/** `s3t predict`: labels for images, or for texts in the rows of a table or the lines of a file; of a language model what follows. */
export function addPredict(program: Command): void {
  program
    .command('predict')
    .description(
      'labels for image files, the rows of a JSON Lines, CSV or TSV file, the lines of a text file, or any of them on stdin (-); a language model continues the texts',
    )
    .argument('<file...>', 'files, or - for stdin')
    .requiredOption(...RUN)
    .option(
      '--image <field>',
      "the field that names an image file (default: the run's data.image, else image, else path)",
    )
    .option('--top <n>', 'labels per answer', integer(1), 5)
    .option('--max-tokens <n>', 'tokens that continue a text at most (default: as many as fit)', integer(1))
    .option('--temperature <t>', 'divides the logits; 0 takes the likeliest token (default: 0)', number(0))
    .option('--top-k <k>', 'draw from the k likeliest tokens', integer(1))
    .option('--top-p <p>', 'draw from the likeliest tokens of probability p together', number(0, 1))
    .option('--repetition-penalty <r>', 'above 1: tokens that were there become less likely', number(0))
    .option('--stop <text...>', 'texts that end an answer')
    .option('--seed <n>', 'equal seeds draw equal texts (default: 0)', integer(0))
    .option(...JSON_OUTPUT)
    .action(predict);
}

async function predict(files: string[], options: Options): Promise<void> {
  const { run, image, top, json } = options;
  // What is wrong with the arguments is said before a run is opened.
  checkSources(files);
  let named: NamedInput[] = [];
  const read = async (model: Pick<Model, 'reads' | 'fields'>) => {
    named = await readInputs(files, { ...model, ...(image !== undefined && { image }) });
    return named.map(({ input }) => input);
  };
  const sampling = SAMPLING.filter((name) => options[name] !== undefined);
  const parts = await withRunOrServer<RemotePrediction[] | null>(
    run,
    async (unlearner) => {
      const inputs = await read({ reads: unlearner.reads, fields: [...inputFields(unlearner)] });
      if (unlearner.task === 'causal-lm') {
        await continueTexts(unlearner, named, options);
        return null;
      }
      refuse(sampling);
      return predictHere(unlearner, inputs);
    },
    async (server) => {
      const model = await server.model();
      const inputs = await read(model);
      if (model.task === 'causal-lm') {
        await continueTexts(server, named, options);
        return null;
      }
      refuse(sampling);
      return server.predict(inputs, top);
    },
  );
  if (parts === null) return;
  const answers = labelled(named, parts, top);
  if (json) {
    const last = parts.at(-1);
    printJson({ version: last?.version ?? null, manifest: last?.manifest ?? null, predictions: answers });
  } else {
    print(render(answers));
  }
}

/** @throws UsageError naming an option that only a run that continues texts has */
function refuse([odd]: readonly (keyof Sampling)[]): void {
  if (odd) throw new UsageError(`predict: ${dashed(odd)}: this run continues no texts`);
}

/** `maxTokens` as it is typed. */
function dashed(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Prints what continues each text as it becomes certain, a blank line between two of them. */
async function continueTexts(
  source: TextSource,
  named: readonly NamedInput[],
  { json, ...options }: Options,
): Promise<void> {
  using interrupts = catchInterrupts('stopping after this token');
  const sampling: ContinueOptions = { signal: interrupts.signal };
  Object.assign(sampling, Object.fromEntries(SAMPLING.map((name) => [name, options[name]])));
  let begun = 0;
  let isNew = true;
  const show = (piece: string, isLast: boolean) => {
    if (isNew && begun++ > 0) process.stdout.write('\n');
    isNew = isLast;
    process.stdout.write(isLast ? `${piece}\n` : piece);
  };
  const found = await continueAll(source, named, sampling, json ? undefined : show).catch((error) =>
    interrupts.rethrow(error, 'stopped: what was said so far is not all'),
  );
  if (json) printJson(continued(found));
}

function continued(predictions: readonly Continuation[]) {
  const last = predictions.at(-1);
  return { version: last?.version ?? null, manifest: last?.manifest ?? null, predictions };
}

async function predictHere(unlearner: Unlearner, inputs: NamedInput['input'][]): Promise<Prediction[]> {
  const parts: Prediction[] = [];
  for (let at = 0; at < inputs.length; at += BATCH) {
    parts.push(await unlearner.predict(inputs.slice(at, at + BATCH)));
  }
  return parts;
}

interface LabelledAnswer {
  id: string;
  labels: readonly { label: string; score: number }[];
  /** What it was computed with: a server's ensemble may change between two requests. */
  version: number;
  manifest: string;
}

function labelled(
  named: readonly NamedInput[],
  parts: readonly RemotePrediction[],
  top: number,
): LabelledAnswer[] {
  const answers = parts.flatMap(({ version, manifest, answers }) =>
    answers.map((labels) => ({ labels: labels.slice(0, top), version, manifest })),
  );
  return answers.map((answer, index) => ({ id: named[index]!.id, ...answer }));
}

function render(answers: readonly LabelledAnswer[]): string {
  const rows = answers.map(({ id, labels }) => [id, labels[0]!.label, labels[0]!.score.toFixed(3)]);
  const made = [
    ...new Set(answers.map(({ version, manifest }) => `version ${version}, manifest ${short(manifest)}`)),
  ];
  return [
    table([{ title: 'input' }, { title: 'label' }, { title: 'score', align: 'right' }], rows),
    `\n${made.join('; ')}`,
  ].join('\n');
}
