/**
 * What models are to reach, each as a ratio measured in one process, round by round in turns.
 *
 *     npm run bench:models -- [--only load,stage,half,together,ensemble] [--rounds N] [--json FILE] [--readme]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { Device } from '@s3t/engine';
import { measureEnsemble } from './ensemble.ts';
import { measureHalf } from './half.ts';
import { measureLoading } from './load.ts';
import { type ModelRow, modelTable } from './report.ts';
import { measureStage } from './stage.ts';
import { measureTogether } from './together.ts';

const USAGE =
  'usage: npm run bench:models -- [--only load,stage,half,together,ensemble] [--rounds N] [--json FILE] [--readme]';
const README = new URL('../../README.md', import.meta.url);
const MARKS = ['<!-- models -->', '<!-- end of models -->'] as const;
const BENCHES: Record<string, (rounds: number) => Promise<ModelRow[]>> = {
  load: measureLoading,
  stage: (rounds) => onDevice((device) => measureStage(device, rounds)),
  half: (rounds) => onDevice((device) => measureHalf(device, rounds)),
  together: (rounds) => onDevice((device) => measureTogether(device, rounds)),
  ensemble: (rounds) => onDevice((device) => measureEnsemble(device, rounds)),
};

async function onDevice<T>(work: (device: Device) => Promise<T>): Promise<T> {
  const device = await Device.open();
  try {
    return await work(device);
  } finally {
    device.close();
  }
}

interface Options {
  only: string[];
  rounds: number;
  json: string | undefined;
  readme: boolean;
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', default: Object.keys(BENCHES).join() },
        rounds: { type: 'string', default: '7' },
        json: { type: 'string' },
        readme: { type: 'boolean', default: false },
      },
    });
    const only = values.only.split(',');
    const strange = only.find((name) => !Object.hasOwn(BENCHES, name));
    if (strange !== undefined) throw new Error(`--only ${strange} is not one of ${Object.keys(BENCHES)}`);
    const rounds = Number(values.rounds);
    if (!Number.isInteger(rounds) || rounds < 1)
      throw new Error(`--rounds ${values.rounds} is not 1 or more`);
    return { only, rounds, json: values.json, readme: values.readme };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

async function main({ only, rounds, json, readme }: Options): Promise<void> {
  const rows: ModelRow[] = [];
  const loadBefore = loadavg()[0]!;
  const adapter = await onDevice(async (device) => `${device.adapterName} [${device.adapterClass}]`);
  for (const name of only) {
    console.error(name);
    rows.push(...(await BENCHES[name]!(rounds)));
  }
  const command = [
    'npm run bench:models',
    ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []),
  ];
  const text = [
    `Printed by \`${command.join(' ')}\`:`,
    '',
    `${cpus().length} cores (${cpus()[0]?.model}), load average ${loadBefore.toFixed(1)}, ${adapter}, ${rounds} rounds`,
    '',
    modelTable(rows),
  ].join('\n');
  console.log(text);
  if (json) writeFileSync(json, `${JSON.stringify(rows, null, 2)}\n`);
  if (!readme) return;
  const page = readFileSync(README, 'utf8');
  const [before, after] = [page.split(MARKS[0])[0]!, page.split(MARKS[1])[1]!];
  writeFileSync(README, `${before}${MARKS[0]}\n${text}\n${MARKS[1]}${after}`);
}

await main(readOptions());
