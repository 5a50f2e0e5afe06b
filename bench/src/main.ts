/**
 * Side-by-side benchmarks: this engine and others, in one run.
 *
 *     npm run bench -- [--quick] [--rounds N] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { engineNames } from './engine.ts';
import { EngineProcess } from './engine-process.ts';
import { benchProducts } from './products.ts';
import { failures, productTable } from './table.ts';

const usage = 'usage: npm run bench -- [--quick] [--rounds N] [--json FILE]';

async function main(): Promise<void> {
  const { quick, json, rounds } = readOptions();
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  const engines: EngineProcess[] = [];
  try {
    // One after the other: two that compile at once would only slow each other down.
    for (const name of engineNames) engines.push(await EngineProcess.start(name));
    console.log(
      `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}, ${rounds} rounds`,
    );
    for (const { name, adapter, failure } of engines)
      console.log(`${name}: ${failure === null ? adapter : `failed to start: ${failure}`}`);
    const rows = await benchProducts(engines, { quick, rounds, onProgress: note });
    console.log(`\nMatrix products, f32, medians\n\n${productTable(rows)}`);
    for (const line of failures(rows)) console.log(line);
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(rows, null, 2)}\n`);
    if (rows.some((row) => row.engine === 's3t' && row.error !== undefined)) process.exitCode = 1;
  } finally {
    for (const engine of engines) engine.stop();
  }
}

function readOptions(): { quick: boolean; json: string | undefined; rounds: number } {
  const options = {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    rounds: { type: 'string' },
  } as const;
  try {
    const { values } = parseArgs({ options });
    const rounds = Number(values.rounds ?? (values.quick ? 5 : 11));
    if (!Number.isInteger(rounds) || rounds < 1)
      throw new Error(`--rounds ${values.rounds} is not a number of rounds`);
    return { quick: values.quick, json: values.json, rounds };
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

await main();
