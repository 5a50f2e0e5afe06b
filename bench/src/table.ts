import type { Row } from './products.ts';

/** GFLOP/s by shape and engine, and how many times faster the first engine is than each of the others. */
export function productTable(rows: Row[]): string {
  const engines = [...new Set(rows.map((row) => row.engine))];
  const shapes = [...new Set(rows.map((row) => row.shape))];
  const [first, ...others] = engines;
  const header = [
    'm x k x n',
    'what',
    `${first} ms`,
    ...engines.map((name) => `${name} GFLOP/s`),
    ...others.map((name) => `over ${name}`),
  ];
  const lines = shapes.map((shape) => {
    const of = (engine: string): Row => rows.find((row) => row.shape === shape && row.engine === engine)!;
    const own = of(first!);
    return [
      shape,
      own.note,
      own.ms?.toFixed(3) ?? 'failed',
      ...engines.map((engine) => of(engine).gflops?.toFixed(1) ?? 'failed'),
      ...others.map((engine) => {
        const { ms } = of(engine);
        return ms === null || own.ms === null ? '-' : `${(ms / own.ms).toFixed(1)}x`;
      }),
    ];
  });
  return markdown(header, lines);
}

/** Every engine or shape that failed, with its reason; once for an engine that never started. */
export function failures(rows: Row[]): string[] {
  const failed = rows.filter((row) => row.error !== undefined);
  const lines = failed.map((row) => {
    const everywhere = rows.every((other) => other.engine !== row.engine || other.error === row.error);
    return `${row.engine}${everywhere ? '' : ` on ${row.shape}`} failed: ${row.error}`;
  });
  return [...new Set(lines)];
}

function markdown(header: string[], lines: string[][]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]!.length)));
  const row = (cells: string[]): string =>
    `| ${cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i < 2 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [row(header), rule, ...lines.map(row)].join('\n');
}
