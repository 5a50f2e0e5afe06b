import { estimatePrior, type LikelihoodClass, reserveSlices } from '@s3t/algorithm';
import { type Command, InvalidArgumentError } from 'commander';
import { UsageError } from '../errors.ts';
import { integer, JSON_OUTPUT, type JsonOption, number } from '../options.ts';
import { withRunOrServer } from '../run-access.ts';
import { count, plural } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { right, table } from '../terminal/table.ts';

interface Options extends JsonOption {
  run?: string;
  smoothing: number;
  slices?: number;
  class: LikelihoodClass[];
}

/** `s3t prior`: how likely an erasure is to hit each slice, as a configuration wants it. */
export function addPrior(program: Command): void {
  program
    .command('prior')
    .description(
      "how likely an erasure is to hit each slice: estimated from a run's erasures, or planned for classes of records; for the configuration of a new run",
    )
    .option('--run <dir>', 'estimate it from the erasures of this run')
    .option(
      '--smoothing <a>',
      'imaginary erasures of each slice: (n + a) / (N + a L), so that none gets 0',
      number(1e-9),
      0.5,
    )
    .option('--slices <L>', 'plan it: divide so many slices among the classes', integer(1))
    .option(
      '--class <name:records:erasures>',
      'with --slices: a class of records, how many there are and how many erasures it gets; may be given several times',
      (text: string, before: LikelihoodClass[]) => [...before, likelihoodClass(text)],
      [],
    )
    .option(...JSON_OUTPUT)
    .action(showPrior);
}

function likelihoodClass(text: string): LikelihoodClass {
  const [, name, records, erasures] = /^(.+):([^:]+):([^:]+)$/.exec(text) ?? [];
  if (name === undefined)
    throw new InvalidArgumentError('It must be <name>:<records>:<erasures>, such as high:100:40.');
  return { name, records: number(0)(records!), erasures: number(0)(erasures!) };
}

async function showPrior({ run, smoothing, slices, class: classes, json }: Options): Promise<void> {
  if ((run === undefined) === (slices === undefined))
    throw new UsageError('prior: name a run (--run), or plan one (--slices with --class)');
  if (run !== undefined && classes.length > 0)
    throw new UsageError('--class: goes with --slices; a run is estimated from its own erasures');
  if (slices !== undefined) {
    showReserved(slices, classes, json);
    return;
  }
  const { erasuresBySlice: erasures } = await withRunOrServer(
    run!,
    (unlearner) => unlearner.status(),
    (server) => server.status(),
  );
  const prior = rounded(estimatePrior(erasures, smoothing));
  if (json) {
    printJson({ erasures, smoothing, prior });
    return;
  }
  print(
    [
      table(
        ['slice', 'erasures', 'prior'].map(right),
        prior.map((share, slice) => [String(slice), count(erasures[slice]!), share.toFixed(6)]),
      ),
      '',
      `"sequences": {"prior": ${JSON.stringify(prior)}}`,
      'For the configuration of a new run: the sequences of this one stay what they are.',
    ].join('\n'),
  );
}

function showReserved(slices: number, classes: readonly LikelihoodClass[], json: boolean | undefined): void {
  const { open, prior: exact } = reserveSlices({ slices, classes });
  const prior = rounded(exact);
  if (json) {
    printJson({ open, prior });
    return;
  }
  print(
    [
      table(
        [{ title: 'class' }, right('records'), right('erasures'), { title: 'slices' }],
        classes.map(({ name, records, erasures }) => [
          name,
          count(records),
          count(erasures),
          open[name]!.join(' '),
        ]),
      ),
      '',
      `"partition": {"by": "<field>", "open": ${JSON.stringify(open)}}, "sequences": {"prior": ${JSON.stringify(prior)}}`,
      `${plural(classes.length, 'class')} over ${plural(slices, 'slice')}: <field> is where a record names its class.`,
    ].join('\n'),
  );
}

/** Nine digits are enough for a configuration, and still sum to 1. */
const rounded = (prior: readonly number[]): number[] => prior.map((share) => Number(share.toFixed(9)));
