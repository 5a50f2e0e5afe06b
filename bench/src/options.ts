import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BenchName, benchNames } from './cases.ts';
import { type EngineName, engineNames } from './engine.ts';

export interface Options {
  only: readonly BenchName[];
  engines: readonly EngineName[];
  rounds: number;
  /** More shapes. */
  all: boolean;
  json: string | undefined;
  plot: string | undefined;
  readme: boolean;
  /** The command that was typed. */
  command: string;
}

const USAGE = `usage: npm run bench -- [--only NAME,...] [--engines NAME,...] [--rounds N] [--all] [--json FILE] [--plot FILE] [--readme]
  --only     of ${benchNames.join(', ')}
  --engines  of ${engineNames.join(', ')}`;

/** Reads the command line; ends the process with 2 when it is wrong. */
export function readOptions(): Options {
  const options = {
    only: { type: 'string' },
    engines: { type: 'string' },
    rounds: { type: 'string', default: '15' },
    all: { type: 'boolean', default: false },
    json: { type: 'string' },
    plot: { type: 'string' },
    readme: { type: 'boolean', default: false },
  } as const;
  try {
    const { values } = parseArgs({ options });
    const rounds = Number(values.rounds);
    if (!Number.isInteger(rounds) || rounds < 1)
      throw new Error(`--rounds ${values.rounds} is not a number of rounds`);
    return {
      only: listed('only', values.only, benchNames),
      engines: listed('engines', values.engines, engineNames),
      rounds,
      all: values.all,
      json: values.json,
      plot: values.plot && resolve(values.plot),
      readme: values.readme,
      command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
        ' ',
      ),
    };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

function listed<T extends string>(
  option: string,
  value: string | undefined,
  known: readonly T[],
): readonly T[] {
  if (value === undefined) return known;
  const names = value.split(',');
  const strange = names.find((name) => !known.some((each) => each === name));
  if (strange !== undefined) throw new Error(`--${option} ${strange} is not one of ${known.join(', ')}`);
  return known.filter((name) => names.includes(name));
}
