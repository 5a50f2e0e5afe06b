import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import type { ProbeReport } from '../doctor/probe.ts';
import { type DoctorReport, diagnose } from '../doctor/report.ts';
import { JSON_OUTPUT, type JsonOption } from '../options.ts';
import { bytes } from '../terminal/format.ts';
import { print, printJson } from '../terminal/print.ts';
import { paint } from '../terminal/style.ts';
import { facts } from '../terminal/table.ts';

/** `s3t doctor`: what device, what limits, what is missing and how to get it. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('what device, what limits, what is missing and how to get it')
    .option(
      '--kernels',
      'compare the kernels with float64 on random numbers, too: takes half a minute the first time',
    )
    .option(...JSON_OUTPUT)
    .action(examine);
}

async function examine({ json, kernels = false }: JsonOption & { kernels?: boolean }): Promise<void> {
  const report = diagnose(await runProbe(kernels));
  if (json) printJson(report);
  else print(render(report));
  if (!report.ok) process.exitCode = 1;
}

async function runProbe(kernels: boolean): Promise<ProbeReport> {
  // Beside us as source or as compiled file.
  const file = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? '../doctor/probe.ts' : '../doctor/probe.js', import.meta.url),
  );
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...process.execArgv,
      file,
      ...(kernels ? ['kernels'] : []),
    ]);
    return JSON.parse(stdout);
  } catch (error) {
    const { signal, stderr = '' } = error as { signal?: string; stderr?: string };
    const last =
      stderr
        .trim()
        .split('\n')
        .findLast((line) => /error/i.test(line)) ?? '';
    const why = signal
      ? `the graphics driver crashed (${signal})`
      : `the examination failed: ${last || error}`;
    const unknown = { ok: false, error: 'not examined' } as const;
    return { adapter: { ok: false, error: why }, pglite: { ok: true }, sharp: unknown };
  }
}

function render(report: DoctorReport): string {
  const { adapter, problems } = report;
  const lines: [string, string][] = [
    ['Node', mark(report.node.ok, report.node.version)],
    ['machine', `${report.platform}, ${report.cores} cores, ${bytes(report.memoryBytes)} of memory`],
    ['WebGPU', adapter.ok ? mark(true, `${adapter.name} (${adapter.class})`) : mark(false, adapter.error)],
  ];
  if (adapter.ok) {
    const { limits } = adapter;
    if (adapter.kernelsChecked) lines.push(['', 'its kernels agree with float64 on random numbers']);
    lines.push(
      [
        '',
        `buffers up to ${bytes(limits.maxBufferSize!)}, bindings up to ${bytes(limits.maxStorageBufferBindingSize!)}`,
      ],
      [
        '',
        `work-groups of ${limits.maxComputeInvocationsPerWorkgroup}, ${bytes(limits.maxComputeWorkgroupStorageSize!)} shared`,
      ],
      [
        '',
        `features: ${adapter.features.filter((name) => NOTABLE.has(name)).join(', ') || 'none that matter'}`,
      ],
    );
  }
  for (const name of ['pglite', 'sharp'] as const) {
    const found = report[name];
    lines.push([name === 'pglite' ? 'PGlite' : 'sharp', mark(found.ok, found.version ?? found.error ?? '')]);
  }
  const advice = problems.map(
    ({ what, help, needed }) => `${needed ? 'missing' : 'optional'}: ${what}\n  ${help}`,
  );
  return [
    facts(lines),
    ...(advice.length > 0 ? ['', ...advice] : ['', 'Everything that S3T needs is here.']),
  ].join('\n');
}

/** The features that decide which kernels run, or how well they can be measured. */
const NOTABLE = new Set([
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
]);

function mark(ok: boolean, text: string): string {
  return `${ok ? paint('green', '✓') : paint('red', '✗')} ${text}`.trimEnd();
}
