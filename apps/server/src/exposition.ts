// A few metrics in Prometheus' text format 0.0.4. Names, help and labels are ours, so nothing but label values needs escaping.

type Labels = Readonly<Record<string, string | number>>;

interface Metric {
  name: string;
  help: string;
  type: 'counter' | 'gauge' | 'histogram';
  lines(): Iterable<string>;
}

/** A set of metrics and their text. */
export class Registry {
  readonly #metrics: Metric[] = [];

  counter(name: string, help: string): Counter {
    const counter = new Counter(name);
    this.#metrics.push({ name, help, type: 'counter', lines: () => counter.lines() });
    return counter;
  }

  /** A value read when it is asked for: one number, or several with labels. */
  gauge(name: string, help: string, read: () => number | Iterable<[Labels, number]>): void {
    const lines = (): Iterable<string> => {
      const value = read();
      const all: Iterable<[Labels, number]> = typeof value === 'number' ? [[{}, value]] : value;
      return Array.from(all, ([labels, number]) => line(name, labels, number));
    };
    this.#metrics.push({ name, help, type: 'gauge', lines });
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    const histogram = new Histogram(name, bounds);
    this.#metrics.push({ name, help, type: 'histogram', lines: () => histogram.lines() });
    return histogram;
  }

  text(): string {
    const parts = this.#metrics.flatMap(({ name, help, type, lines }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...lines(),
    ]);
    return `${parts.join('\n')}\n`;
  }
}

export class Counter {
  readonly #name: string;
  readonly #values = new Map<string, { labels: Labels; value: number }>();

  constructor(name: string) {
    this.#name = name;
  }

  add(value = 1, labels: Labels = {}): void {
    const key = JSON.stringify(labels);
    const entry = this.#values.get(key);
    if (entry === undefined) this.#values.set(key, { labels, value });
    else entry.value += value;
  }

  lines(): string[] {
    if (this.#values.size === 0) return [line(this.#name, {}, 0)];
    return Array.from(this.#values.values(), ({ labels, value }) => line(this.#name, labels, value));
  }
}

export class Histogram {
  readonly #name: string;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(name: string, bounds: readonly number[]) {
    this.#name = name;
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#count += 1;
    // Buckets are cumulative: each counts everything up to its bound.
    for (const [at, bound] of this.#bounds.entries()) if (value <= bound) this.#counts[at]! += 1;
  }

  lines(): string[] {
    const bucket = `${this.#name}_bucket`;
    return [
      ...this.#bounds.map((bound, at) => line(bucket, { le: bound }, this.#counts[at]!)),
      line(bucket, { le: '+Inf' }, this.#count),
      line(`${this.#name}_sum`, {}, this.#sum),
      line(`${this.#name}_count`, {}, this.#count),
    ];
  }
}

function line(name: string, labels: Labels, value: number): string {
  const inner = Object.entries(labels).map(([key, text]) => `${key}="${escaped(String(text))}"`);
  return `${name}${inner.length > 0 ? `{${inner.join(',')}}` : ''} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
