// Shards x sequences x positions as cells. A row is a sequence, a column a position, the number in a cell its slice.
import { Component } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { counted, short } from '../model/format.ts';
import { type CellState, erasedPlaces, keyOf, stateOf } from '../model/run.ts';
import type { State } from '../model/store.ts';
import type { Shard, Stage, Status } from '../model/types.ts';

const WORDS: Record<CellState, string> = {
  served: 'served',
  active: 'active, not served',
  training: 'in training',
  erased: 'erased, waits for repair',
  missing: 'not trained yet',
};

interface Shared {
  training: ReadonlyMap<string, number>;
  erased: ReadonlySet<string>;
  doomed: ReadonlySet<string>;
  answered: boolean;
  /** The cell that Tab reaches. */
  current: string;
  onCell(key: string): void;
}

export function RunMap({ state, status }: { state: State; status: Status }) {
  const erased = useMemo(() => erasedPlaces(state.receipts), [state.receipts]);
  const doomed = useMemo(() => new Set(state.doomed.map(keyOf)), [state.doomed]);
  const first = status.shards[0];
  const [current, setCurrent] = useState({ key: `${first?.shard ?? 0}/0/0`, isAsked: false });
  const positions = first?.sequences[0]?.stages.length ?? 0;
  const shared: Shared = {
    ...{ training: state.training, erased, doomed, current: current.key },
    answered: state.answered === status.version,
    onCell: (key) => setCurrent({ key, isAsked: true }),
  };
  // Told anew with every status: what was served when somebody pointed at it may be gone.
  const about = current.isAsked ? aboutCell(status, shared) : undefined;
  return (
    <section class="panel map" id="map" aria-labelledby="map-title" tabIndex={-1}>
      <div class="bar">
        <h2 id="map-title">Map of the run</h2>
        <Legend />
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is of a form */}
      <div
        class="shards"
        role="group"
        aria-label="Shards"
        data-dense={positions > 8 || undefined}
        onKeyDown={move}
      >
        {status.shards.map((shard) => (
          <ShardCard key={shard.shard} shard={shard} {...shared} />
        ))}
      </div>
      <p class="inspector" aria-live="polite">
        {about ??
          'Rows are sequences, columns positions; a cell names its slice. Point at one, or move with the arrow keys.'}
      </p>
    </section>
  );
}

function Legend() {
  return (
    <ul class="legend" aria-label="What the cells mean">
      {(Object.keys(WORDS) as CellState[]).map((state) => (
        <li key={state}>
          <span class="cell" data-state={state} aria-hidden="true" />
          {WORDS[state]}
        </li>
      ))}
    </ul>
  );
}

type CardProps = Shared & { shard: Shard };

class ShardCard extends Component<CardProps> {
  /** A run may have thousands of cells, and ten events a second; few of them concern a shard. */
  override shouldComponentUpdate(next: CardProps): boolean {
    const { shard, training, erased, doomed, answered, current } = this.props;
    const own = `${shard.shard}/`;
    return (
      next.shard !== shard ||
      next.erased !== erased ||
      next.doomed !== doomed ||
      next.answered !== answered ||
      (next.current !== current && (next.current.startsWith(own) || current.startsWith(own))) ||
      (next.training !== training && (touches(shard, next.training) || touches(shard, training)))
    );
  }

  override render({ shard, ...shared }: CardProps) {
    const positions = shard.sequences[0]?.stages.length ?? 0;
    const title = `shard-${shard.shard}`;
    const { servedSequence, servedDepth } = shard;
    return (
      <article class="shard" data-answered={shared.answered || undefined}>
        <header>
          <h3 id={title}>Shard {shard.shard}</h3>
          <p class={servedSequence === null ? 'depth none' : 'depth'}>
            {servedSequence === null ? 'serves nothing' : `serves ${servedDepth} of ${positions}`}
          </p>
        </header>
        <table aria-labelledby={title}>
          <thead class="sr">
            <tr>
              <td />
              {shard.sequences[0]?.stages.map(({ position }) => (
                <th key={position} scope="col">
                  position {position}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shard.sequences.map((sequence, row) => (
              <tr key={row} data-served={row === servedSequence || undefined}>
                <th scope="row">
                  <span class="sr">sequence </span>
                  {row}
                </th>
                {sequence.stages.map((stage) => (
                  <td key={stage.position}>
                    <Cell shard={shard} row={row} stage={stage} {...shared} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </article>
    );
  }
}

function touches({ sequences }: Shard, training: ReadonlyMap<string, number>): boolean {
  return training.size > 0 && sequences.some(({ stages }) => stages.some(({ stage }) => training.has(stage)));
}

function Cell({ shard, row, stage, ...shared }: Shared & { shard: Shard; row: number; stage: Stage }) {
  const key = keyOf({ shard: shard.shard, sequence: row, position: stage.position });
  const tell = (): void => shared.onCell(key);
  return (
    <button
      type="button"
      class="cell"
      data-key={key}
      data-state={stateOf(shard, row, stage, shared)}
      data-doomed={shared.doomed.has(key) || undefined}
      tabIndex={shared.current === key ? 0 : -1}
      aria-label={whatIs(shard, row, stage, shared)}
      style={{ '--progress': String(shared.training.get(stage.stage) ?? 0) }}
      onFocus={tell}
      onPointerEnter={tell}
    >
      {stage.slice}
    </button>
  );
}

function whatIs(shard: Shard, row: number, stage: Stage, shared: Shared): string {
  const doomed = shared.doomed.has(keyOf({ shard: shard.shard, sequence: row, position: stage.position }));
  const place = `Shard ${shard.shard}, sequence ${row}, position ${stage.position}`;
  const state = WORDS[stateOf(shard, row, stage, shared)];
  return `${place}: slice ${stage.slice}, ${state}${doomed ? ', would be erased' : ''}`;
}

/** More of the current cell than its name says. */
function aboutCell({ shards }: Status, shared: Shared): string | undefined {
  const [number, row, column] = shared.current.split('/').map(Number) as [number, number, number];
  const shard = shards.find((one) => one.shard === number);
  const stage = shard?.sequences[row]?.stages[column];
  if (shard === undefined || stage === undefined) return;
  const weights = stage.weights === null ? 'no weights' : `weights ${short(stage.weights)}`;
  const more = `Stage ${short(stage.stage)}, ${weights}, ${counted(stage.records, 'record')}.`;
  return `${whatIs(shard, row, stage, shared)}. ${more}`;
}

/** One tab stop for the whole map; arrow keys do the rest, and go on in the shard above or below, left or right of it. */
function move(event: KeyboardEvent): void {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const from = event.target instanceof HTMLElement ? event.target.dataset.key : undefined;
  if (step === undefined || from === undefined) return;
  const [shard, row, column] = from.split('/').map(Number) as [number, number, number];
  const [down, right] = step as [number, number];
  const ofShard = (n: number): HTMLElement[] => cellsOf(`${n}/`);
  const last = (cells: HTMLElement[], at: 1 | 2): number => Number(cells.at(-1)?.dataset.key?.split('/')[at]);
  let [s, r, c] = [shard, row + down, column + right];
  const here = ofShard(shard);
  if (c < 0 || r < 0) s -= 1;
  if (c > last(here, 2) || r > last(here, 1)) s += 1;
  const there = ofShard(s);
  if (s !== shard) {
    c = c < 0 ? last(there, 2) : right > 0 ? 0 : c;
    r = r < 0 ? last(there, 1) : down > 0 ? 0 : r;
  }
  const to = cellsOf(`${s}/${r}/${c}`)[0];
  if (to === undefined) return;
  event.preventDefault();
  to.focus();
}

function cellsOf(prefix: string): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>(`.shards .cell[data-key^="${prefix}"]`)];
}
