import type { Row } from './measure.ts';

const TITLES: Record<string, { title: string; unit: string; of: (row: Row) => string | undefined }> = {
  matmul: { title: 'Matrix products', unit: 'GFLOP/s', of: ({ gflops }) => gflops?.toFixed(1) },
  attention: { title: 'Attention', unit: 'GFLOP/s', of: ({ gflops }) => gflops?.toFixed(1) },
  bandwidth: { title: 'Bandwidth', unit: 'GB/s', of: ({ gbs }) => gbs?.toFixed(2) },
  step: { title: 'LoRA training steps', unit: 'ms', of: ({ ms }) => ms?.toFixed(0) },
};

/** One table a benchmark: what each engine reaches, and how many times faster the first is than each of the others. */
export function tables(rows: readonly Row[]): string {
  const names = Object.keys(TITLES).filter((bench) => rows.some((row) => row.bench === bench));
  return names.map((bench) => tableOf(rows.filter((row) => row.bench === bench))).join('\n\n');
}

function tableOf(rows: readonly Row[]): string {
  const { title, unit, of } = TITLES[rows[0]!.bench]!;
  const engines = [...new Set(rows.map(({ engine }) => engine))];
  const [first, ...others] = engines;
  const find = (shape: string, engine: string) =>
    rows.find((row) => row.shape === shape && row.engine === engine);
  const header = ['shape', 'what', `${first} ms`, ...engines, ...others.map((name) => `over ${name}`)];
  const lines = [...new Set(rows.map(({ shape }) => shape))].map((shape) => {
    const own = find(shape, first!);
    const ratio = (name: string): string => {
      const { ms = null } = find(shape, name) ?? {};
      return ms === null || !own?.ms ? '-' : `${(ms / own.ms).toFixed(1)}x`;
    };
    const cell = (name: string): string => {
      const row = find(shape, name);
      return row ? (of(row) ?? 'failed') : '-';
    };
    const note = rows.find((row) => row.shape === shape)!.note;
    return [shape, note, own?.ms?.toFixed(3) ?? '-', ...engines.map(cell), ...others.map(ratio)];
  });
  return `${title}, f32, ${unit}; medians\n\n${markdown(header, lines)}`;
}

/** Every engine or shape that failed, with its reason; once for an engine that never started. */
export function failures(rows: readonly Row[]): string[] {
  const failed = rows.filter((row) => row.error !== undefined);
  const lines = failed.map((row) => {
    const everywhere = rows.every((other) => other.engine !== row.engine || other.error === row.error);
    return `- ${row.engine}${everywhere ? '' : ` on ${row.shape}`} failed: ${row.error}`;
  });
  return [...new Set(lines)];
}

function markdown(header: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]!.length)));
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i < 2 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [row(header), rule, ...lines.map(row)].join('\n');
}
