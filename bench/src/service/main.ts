/**
 * What the service is to reach (2 cores, no GPU, vit-tiny, 3 shards), over real HTTP with server and clients in two processes of one machine.
 *
 *     npm run bench:service -- [--only NAME,...] [--clients N] [--records N] [--erasures N] [--predictions N] [--between N]
 *       [--rounds N] [--seconds S] [--in-process] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { countStale, measureErasures, measureStarts, measureThroughput } from './measures.ts';
import { grownRun, questions, SHARDS, trainedRun } from './run.ts';
import { Server } from './start-server.ts';

const USAGE =
  'usage: npm run bench:service -- [--only erase,stale,throughput,start] [--clients N] [--records N] [--erasures N] [--predictions N] [--between N] [--rounds N] [--seconds S] [--in-process] [--json FILE]';
const BENCHES = ['erase', 'stale', 'throughput', 'start'] as const;
/** Of the run whose ledger is large; the other has two. */
const SLICES = 4;

interface Sizes {
  clients: number;
  records: number;
  erasures: number;
  predictions: number;
  between: number;
  rounds: number;
  seconds: number;
}
const DEFAULTS: Sizes = {
  clients: 50,
  /** In the large ledger. */
  records: 1_000_000,
  /** Timed ones. */
  erasures: 108,
  /** Whose manifests are checked. */
  predictions: 10_000,
  /** Erasures between them. */
  between: 50,
  rounds: 3,
  seconds: 5,
};

interface Row {
  what: string;
  value: string;
  aim: string;
  note: string;
}

function readOptions(): { only: readonly string[]; sizes: Sizes; json: string | undefined } {
  try {
    const numbers = Object.fromEntries(
      Object.keys(DEFAULTS).map((name) => [name, { type: 'string' as const }]),
    );
    const { values } = parseArgs({
      options: {
        ...numbers,
        only: { type: 'string', default: BENCHES.join() },
        json: { type: 'string' },
        'in-process': { type: 'boolean', default: false },
      },
    });
    const only = values.only.split(',');
    const strange = only.find((name) => !BENCHES.some((known) => known === name));
    if (strange !== undefined) throw new Error(`--only ${strange} is not one of ${BENCHES.join()}`);
    const sizes = { ...DEFAULTS };
    for (const name of Object.keys(DEFAULTS) as (keyof Sizes)[]) {
      const given = (values as Record<string, string | boolean | undefined>)[name];
      if (typeof given !== 'string') continue;
      sizes[name] = Number(given);
      if (!Number.isInteger(sizes[name]) || sizes[name] < 1)
        throw new Error(`--${name} ${given} is not 1 or more`);
    }
    Server.inProcess = values['in-process'];
    return { only, sizes, json: values.json };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

async function main(): Promise<void> {
  const { only, sizes, json } = readOptions();
  const load = loadavg()[0]!;
  const folder = await mkdtemp(join(tmpdir(), 's3t-service-'));
  const results: Record<string, unknown> = {};
  const rows: Row[] = [];
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  try {
    const bodies = await questions(64);
    if (only.includes('erase')) {
      console.error('erase: training');
      const small = await trainedRun(join(folder, 'deep'), { records: 16 * SHARDS * SLICES, slices: SLICES });
      console.error(`erase: a ledger of ${sizes.records} records`);
      const run = await grownRun(small, join(folder, 'large'), sizes.records);
      console.error('erase: measuring');
      const found = await measureErasures(run, SLICES, bodies, sizes);
      results.erase = found;
      const { all, switching, inServer, delays, calm } = found;
      rows.push(
        {
          what: `erasure acknowledged, ${sizes.clients} clients, ${sizes.records} records`,
          value: `p50 ${ms(all.p50)}, p99 ${ms(all.p99)}`,
          aim: 'p99 <= 50 ms',
          note: `${all.count} erasures; the ${switching.count} that switch: p50 ${ms(switching.p50)}, p99 ${ms(switching.p99)}; in the server p50 ${ms(inServer.p50)}, p99 ${ms(inServer.p99)}; ${found.cut} of ${found.answers} answers cut off`,
        },
        {
          what: 'event loop delay, the same clients',
          value: `p99 ${ms(calm.p99)}`,
          aim: 'p99 <= 20 ms',
          note: `at most ${ms(calm.max)}; with the erasures p99 ${ms(delays.p99)}, at most ${ms(delays.max)}; ready in ${ms(found.readyMs)}`,
        },
      );
    }
    if (only.some((name) => name !== 'erase')) {
      console.error('small run: training');
      const run = await trainedRun(join(folder, 'small'), {
        records: Math.max(96, 3 * sizes.between),
        slices: 2,
      });
      if (only.includes('start')) {
        console.error('start');
        const found = await measureStarts(run.folder, sizes.rounds);
        results.start = found;
        rows.push({
          what: 'start to ready, warm cache',
          value: `median ${ms(found.p50)}`,
          aim: '<= 3000 ms',
          note: `of ${found.count}; at most ${ms(found.max)}`,
        });
      }
      if (only.includes('throughput')) {
        console.error('throughput');
        const server = await Server.start(run.folder);
        const found = await measureThroughput(server.url, bodies, sizes);
        await server.close();
        results.throughput = found;
        rows.push({
          what: `${sizes.clients} clients at once over one by one`,
          value: `${found.ratio.toFixed(1)}x`,
          aim: '>= 4x',
          note: `${found.many.toFixed(0)} and ${found.one.toFixed(0)} answers per second`,
        });
      }
      if (only.includes('stale')) {
        console.error('stale');
        const found = await countStale(run, bodies, { ...sizes, erasures: sizes.between });
        results.stale = found;
        rows.push({
          what: 'answers that name a deactivated stage after its acknowledgement',
          value: `${found.wrong}`,
          aim: '0',
          note: `of ${found.predictions} with ${found.erasures} erasures between, ${found.manifests} manifests, ${found.repaired} stages trained again; read after it: ${found.late}; ${found.unserved} times 503, ${found.cut} cut off`,
        });
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const command = [
    'npm run bench:service',
    ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []),
  ];
  const head = ['what', 'measured', 'aim', ''];
  const lines = rows.map(({ what, value, aim, note }) => [what, value, aim, note]);
  console.log(
    [
      `Printed by \`${command.join(' ')}\`:`,
      '',
      `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}, load average ${load.toFixed(1)} before and ${loadavg()[0]!.toFixed(1)} after`,
      '',
      ...[head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`),
    ].join('\n'),
  );
  if (json) writeFileSync(json, `${JSON.stringify({ sizes, ...results }, null, 2)}\n`);
}

await main();
