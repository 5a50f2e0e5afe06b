/**
 * Side-by-side benchmarks: this engine and others, in one run.
 *
 *     npm run bench -- [--only NAME,...] [--engines NAME,...] [--rounds N] [--all] [--json FILE] [--plot FILE] [--readme]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { cases, shapeOf } from './cases.ts';
import { EngineProcess } from './engine-process.ts';
import { measure, type Row } from './measure.ts';
import { type Options, readOptions } from './options.ts';
import { plot } from './plot.ts';
import { measureReplay, replayLines, replayRows } from './replay.ts';
import { failures, tables } from './table.ts';

const README = new URL('../README.md', import.meta.url);
const MARKS = ['<!-- measured -->', '<!-- end of measured -->'] as const;

async function main(options: Options): Promise<void> {
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  const engines: EngineProcess[] = [];
  try {
    // One after the other: two that compile at once would only slow each other down.
    for (const name of options.engines) engines.push(await EngineProcess.start(name));
    const machine = `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}, ${options.rounds} rounds`;
    const started = engines.map(
      ({ name, adapter, failure }) =>
        `- ${name}: ${failure === null ? adapter : `failed to start: ${failure}`}`,
    );
    const rows: Row[] = [];
    for (const [index, problem] of cases.entries()) {
      if (!options.only.includes(problem.bench) || (problem.extra && !options.all)) continue;
      note(`${problem.bench} ${shapeOf(problem)} (${problem.note})`);
      rows.push(...(await measure(engines, index, options.rounds)));
    }
    const own = engines.find(({ name, failure }) => name === 's3t' && failure === null);
    let replay: string[] = [];
    if (own && options.only.includes('replay')) {
      note('replay');
      const measured = await measureReplay(own);
      replay = replayLines(measured);
      rows.push(...replayRows(own, measured));
    }
    const parts = [[machine, '', ...started], [tables(rows)], replay, failures(rows)];
    const report = parts.filter((part) => part.join('') !== '').map((part) => part.join('\n'));
    console.log(report.join('\n\n'));
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(rows, null, 2)}\n`);
    if (options.plot !== undefined)
      writeFileSync(options.plot, plot(rows, `${machine}; ${own?.adapter ?? ''}`));
    if (options.readme) writeReadme(`Printed by \`${options.command}\`:\n\n${report.join('\n\n')}`);
    if (rows.some((row) => row.engine === 's3t' && row.error !== undefined)) process.exitCode = 1;
  } finally {
    for (const engine of engines) engine.stop();
  }
}

/** Puts a report between the marks of this folder's README. */
function writeReadme(report: string): void {
  const text = readFileSync(README, 'utf8');
  const [begin, end] = MARKS.map((mark) => text.indexOf(mark)) as [number, number];
  if (begin < 0 || end < begin) throw new Error(`bench/README.md has no ${MARKS.join(' ... ')}`);
  writeFileSync(README, `${text.slice(0, begin)}${MARKS[0]}\n${report}\n${text.slice(end)}`);
}

await main(readOptions());
