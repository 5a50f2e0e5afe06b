import type { Prediction, Unlearner } from '@s3t/unlearner';
import type { Command } from 'commander';
import { integer, JSON_OUTPUT, RUN, type RunOptions } from '../options.ts';
import { type NamedInput, readInputs } from '../predict/input-files.ts';
import type { RemotePrediction } from '../remote.ts';
import { withRunOrServer } from '../run-access.ts';
import { short } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { table } from '../terminal/table.ts';

interface Options extends RunOptions {
  image?: string;
  top: number;
}

/** Inputs of one forward pass. */
const BATCH = 64;

/** `s3t predict`: labels for images, or for texts in the rows of a table or the lines of a file. */
export function addPredict(program: Command): void {
  program
    .command('predict')
    .description(
      'labels for image files, the rows of a JSON Lines, CSV or TSV file, the lines of a text file, or either on stdin (-)',
    )
    .argument('<file...>', 'files, or - for stdin')
    .requiredOption(...RUN)
    .option('--image <field>', 'the field that names an image file (default: image, else path)')
    .option('--top <n>', 'labels per answer', integer(1), 5)
    .option(...JSON_OUTPUT)
    .action(predict);
}

async function predict(files: string[], { run, image, top, json }: Options): Promise<void> {
  const named = await readInputs(files, image);
  const inputs = named.map(({ input }) => input);
  const parts = await withRunOrServer<RemotePrediction[]>(
    run,
    (unlearner) => predictHere(unlearner, inputs),
    (server) => server.predict(inputs, top),
  );
  const answers = labelled(named, parts, top);
  if (json) {
    const last = parts.at(-1);
    printJson({ version: last?.version ?? null, manifest: last?.manifest ?? null, predictions: answers });
  } else {
    print(render(answers));
  }
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
