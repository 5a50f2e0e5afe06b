// uPlot, with the page's colours.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Point } from '../model/types.ts';

/** More lines than this nobody tells apart: then the shards' mean, least and greatest stand for them. */
const MOST_LINES = 5;
const HEIGHT = 190;

export class Plot {
  readonly #place: HTMLElement;
  readonly #kind: 'depth' | 'accuracy';
  readonly #top: number;
  readonly #watch: ResizeObserver;
  #plot: uPlot | null = null;
  #points: readonly Point[] = [];

  constructor(place: HTMLElement, kind: 'depth' | 'accuracy', top: number) {
    this.#place = place;
    this.#kind = kind;
    this.#top = top;
    this.#watch = new ResizeObserver(() => this.#plot?.setSize({ width: place.clientWidth, height: HEIGHT }));
    this.#watch.observe(place);
  }

  show(points: readonly Point[]): void {
    this.#points = points;
    const data = this.#data();
    if (this.#plot !== null && this.#plot.series.length === data.length) this.#plot.setData(data);
    else this.#draw(data);
  }

  /** After a change of theme. */
  restyle(): void {
    this.#draw(this.#data());
  }

  destroy(): void {
    this.#watch.disconnect();
    this.#plot?.destroy();
  }

  #draw(data: uPlot.AlignedData): void {
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(data.length - 1), data, this.#place);
  }

  #data(): uPlot.AlignedData {
    const points = this.#points;
    const times = points.map(({ at }) => at / 1000);
    const rows: (number | null)[][] =
      this.#kind === 'depth' ? depthRows(points) : [points.map(({ accuracy }) => accuracy)];
    if (times.length > 0) {
      // How deep they serve holds until now; how right they were was so when it was measured.
      times.push(Math.max(Date.now() / 1000, times.at(-1)! + 1));
      for (const row of rows) row.push(this.#kind === 'depth' ? row.at(-1)! : null);
    }
    return [times, ...rows] as uPlot.AlignedData;
  }

  #options(lines: number): uPlot.Options {
    const axis = {
      stroke: this.#colour('--soft'),
      font: '12px system-ui, sans-serif',
      grid: { stroke: this.#colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const accuracy = this.#kind === 'accuracy';
    const names = accuracy
      ? ['accuracy']
      : lines > MOST_LINES || this.#isCondensed()
        ? ['least', 'mean', 'greatest']
        : [];
    const shown = (value: number | null | undefined): string => {
      if (value == null) return '–';
      return accuracy ? `${(100 * value).toFixed(1)} %` : String(Number(value.toFixed(2)));
    };
    const step = uPlot.paths.stepped!({ align: 1 });
    return {
      width: this.#place.clientWidth,
      height: HEIGHT,
      padding: [8, 26, 0, 0],
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: {
        // A single point has no extent.
        x: { range: (_, from, to) => [Math.min(from, to - 10), to] },
        y: {
          range: accuracy
            ? (_, low) => [Math.max(0, Math.floor(10 * low - 0.5) / 10), 1]
            : [0, this.#top + 0.25],
        },
      },
      axes: [
        { ...axis, size: 28, space: 90, values: (_, splits) => splits.map(clocks(splits)) },
        {
          ...axis,
          size: accuracy ? 48 : 28,
          splits: accuracy ? undefined : () => whole(this.#top),
          values: (_, splits) =>
            splits.map((value) => (accuracy ? `${Math.round(100 * value)} %` : String(value))),
        },
      ],
      series: [
        { label: 'at', value: (_, at) => (at == null ? '' : clock(at)) },
        ...Array.from({ length: lines }, (_, n): uPlot.Series => {
          return {
            label: names[n] ?? `shard ${n}`,
            stroke: this.#colour(`--line-${n % 5}`),
            width: 2,
            ...(n > 0 && !accuracy ? { dash: DASHES[n % DASHES.length]! } : {}),
            ...(accuracy ? { points: { show: true, size: 7 } } : { paths: step, points: { show: false } }),
            // Where nothing is pointed at, how it stands now.
            value: (plot, value, line, at) =>
              shown(at === null ? Array.from(plot.data[line] ?? []).findLast((one) => one != null) : value),
          };
        }),
      ],
    };
  }

  #isCondensed(): boolean {
    return (this.#points[0]?.depths.length ?? 0) > MOST_LINES;
  }

  /** A colour of the style sheet, which may depend on the theme, as the canvas wants it. */
  #colour(name: string): string {
    this.#place.style.setProperty('outline-color', `var(${name})`);
    const { outlineColor } = getComputedStyle(this.#place);
    this.#place.style.removeProperty('outline-color');
    return outlineColor;
  }
}

/** Lines that lie on each other are told apart by their gaps. */
const DASHES = [[], [8, 5], [3, 4], [12, 4, 3, 4], [1, 4]];

function depthRows(points: readonly Point[]): number[][] {
  const shards = points[0]?.depths.length ?? 0;
  if (shards <= MOST_LINES)
    return Array.from({ length: shards }, (_, n) => points.map(({ depths }) => depths[n] ?? 0));
  return [
    points.map(({ depths }) => Math.min(...depths)),
    points.map(({ depths }) => depths.reduce((sum, depth) => sum + depth, 0) / depths.length),
    points.map(({ depths }) => Math.max(...depths)),
  ];
}

function whole(top: number): number[] {
  const by = Math.max(1, Math.ceil(top / 6));
  return Array.from({ length: Math.floor(top / by) + 1 }, (_, n) => n * by);
}

function clock(at: number): string {
  return new Date(1000 * at).toLocaleTimeString([], { hour12: false });
}

/** The ledger remembers for long: over more than a day midnight has the name of its day. */
function clocks(splits: readonly number[]): (at: number) => string {
  if ((splits.at(-1) ?? 0) - (splits[0] ?? 0) < 86_400) return clock;
  return (at) => {
    const time = new Date(1000 * at);
    return time.getHours() === 0 && time.getMinutes() === 0
      ? time.toLocaleDateString([], { day: 'numeric', month: 'short' })
      : time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
  };
}
