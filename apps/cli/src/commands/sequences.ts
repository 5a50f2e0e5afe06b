import {
  averageEditDistance,
  LOOKAHEAD,
  score,
  selectSequences,
  sequenceStrategies,
  uniformPrior,
} from '@s3t/algorithm';
import type { Command } from 'commander';
import { integer, JSON_OUTPUT, type JsonOption, PRIOR } from '../options.ts';
import { print, printJson } from '../terminal/print.ts';
import { facts, table } from '../terminal/table.ts';

interface Options extends JsonOption {
  slices: number;
  budget: number;
  strategy: string;
  prior?: number[];
  lookahead: number;
  seed: number;
}

/** `s3t sequences`: the slice orders a strategy picks, and how good they are. */
export function addSequences(program: Command): void {
  program
    .command('sequences')
    .description('the slice orders a strategy picks, their score and diversity')
    .requiredOption('--slices <L>', 'slices of a shard', integer(1))
    .requiredOption('--budget <B>', 'sequences per shard', integer(1))
    .option('--strategy <name>', `${[...sequenceStrategies.keys()].join(', ')}`, 'cyclic')
    .option(...PRIOR)
    .option('--lookahead <t>', 'erasures the score looks ahead', integer(1), LOOKAHEAD)
    .option('--seed <n>', 'seed, for strategies that draw', integer(0), 1)
    .option(...JSON_OUTPUT)
    .action(showSequences);
}

function showSequences({ json, ...options }: Options): void {
  const { slices, strategy, lookahead } = options;
  const sequences = selectSequences(strategy, options);
  const prior = options.prior ?? uniformPrior(slices);
  const scores = sequences.map((sequence) => score(sequence, prior, lookahead));
  const total = scores.reduce((sum, value) => sum + value, 0) / scores.length;
  const editDistance = averageEditDistance(sequences);
  if (json) {
    printJson({ strategy, sequences, score: total, scores, editDistance, lookahead });
    return;
  }
  const rows = sequences.map((sequence, i) => [String(i), sequence.join(' '), scientific(scores[i]!)]);
  print(
    table(
      [{ title: 'sequence', align: 'right' }, { title: 'slices' }, { title: 'score', align: 'right' }],
      rows,
    ),
  );
  print('');
  print(
    facts([
      ['mean score', `${scientific(total)} (Eq. 24, ${lookahead} erasures ahead)`],
      ['edit distance', `${editDistance.toFixed(2)} of ${slices} (mean over pairs)`],
    ]),
  );
}

/** Scores go from 1e-30 to a few tens. */
const scientific = (value: number): string => value.toPrecision(4);
