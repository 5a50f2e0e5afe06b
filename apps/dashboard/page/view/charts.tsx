import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, api } from '../model/api.ts';
import { percent } from '../model/format.ts';
import { store } from '../model/store.ts';
import type { Point, Status } from '../model/types.ts';
import type { Plot } from './plot.ts';

export function Charts({ history, status }: { history: readonly Point[]; status: Status }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const measure = async (): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      store.addPoint(await api.measure());
    } catch (fault) {
      setError(fault instanceof ApiError ? fault.message : String(fault));
    } finally {
      setBusy(false);
    }
  };
  const measured = history.filter(({ accuracy }) => accuracy !== null);
  const last = measured.at(-1);
  const full = status.shards[0]?.sequences[0]?.stages.length ?? 0;
  const depths = status.shards.map(({ shard, servedDepth }) => `shard ${shard} ${servedDepth}`).join(', ');
  return (
    <section class="panel charts" aria-labelledby="charts-title">
      <div class="bar">
        <h2 id="charts-title">Over time</h2>
        <button type="button" disabled={busy} onClick={measure}>
          {busy ? 'Measuring …' : 'Measure accuracy'}
        </button>
      </div>
      <p class="error" role="alert">
        {error}
      </p>
      <div class="plots">
        <figure>
          <figcaption>Served depth</figcaption>
          <Chart kind="depth" points={history} top={full} about={`Served depth now, of ${full}: ${depths}`} />
        </figure>
        <figure>
          <figcaption>Accuracy on the evaluation data</figcaption>
          {last === undefined ? (
            <p class="empty">Not measured yet.</p>
          ) : (
            <Chart
              kind="accuracy"
              points={measured}
              top={1}
              about={`Accuracy, last measured: ${percent(last.accuracy!)}`}
            />
          )}
        </figure>
      </div>
    </section>
  );
}

interface ChartProps {
  kind: 'depth' | 'accuracy';
  points: readonly Point[];
  top: number;
  about: string;
}

function Chart({ kind, points, top, about }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const latest = useRef(points);
  latest.current = points;
  useEffect(() => {
    let gone = false;
    const redraw = (): void => plot.current?.restyle();
    // The library comes after the first paint.
    void import('./plot.ts').then(({ Plot }) => {
      if (gone || place.current === null) return;
      plot.current = new Plot(place.current, kind, top);
      plot.current.show(latest.current);
    });
    addEventListener('s3t-theme', redraw);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', redraw);
    // A depth that does not change still goes on.
    const tick = setInterval(() => plot.current?.show(latest.current), 5000);
    return () => {
      gone = true;
      clearInterval(tick);
      removeEventListener('s3t-theme', redraw);
      scheme.removeEventListener('change', redraw);
      plot.current?.destroy();
    };
  }, [kind, top]);
  useEffect(() => plot.current?.show(points), [points]);
  return <div ref={place} class="plot" role="img" aria-label={about} />;
}
