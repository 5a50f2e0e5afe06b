import { useState } from 'preact/hooks';
import { api } from '../model/api.ts';
import { counted, duration, moment } from '../model/format.ts';
import { type State, store } from '../model/store.ts';
import type { Status } from '../model/types.ts';

/** When repairs begin, by the run's policy. */
const POLICIES: Record<string, string> = {
  manual: 'Begins when somebody asks',
  'at-once': 'Begins by itself after each erasure',
  batch: 'Begins by itself for several erasures at once',
  exhaustion: 'Begins by itself when no shard serves anything any more',
};

export function RepairPanel({ state, status }: { state: State; status: Status }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const { running, paused, done, total, failed, policy, dueAt } = state.repair;
  const { missing } = status;
  const act = async (action: '' | '/pause' | '/resume'): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      store.set({ repair: await api.repair(action) });
    } catch (fault) {
      setError(fault instanceof Error ? fault.message : String(fault));
    } finally {
      setBusy(false);
    }
  };
  const rest =
    missing === 0
      ? 'Every stage is trained.'
      : `${counted(missing, 'stage')} to train on the records that remain.`;
  return (
    <section class="panel repair" aria-labelledby="repair-title">
      <h2 id="repair-title">Repair</h2>
      <p aria-live={running ? 'off' : 'polite'}>
        {running
          ? progress(state)
          : failed === null
            ? rest
            : `The last repair ended early (${failed}). ${rest}`}
      </p>
      {running && (
        <progress max={1} value={total > 0 ? done / total : undefined} aria-labelledby="repair-title" />
      )}
      <p class="error" role="alert">
        {error}
      </p>
      <div class="buttons">
        <button
          type="button"
          class={missing > 0 && !running ? 'primary' : ''}
          disabled={busy || running || paused || missing === 0}
          onClick={() => act('')}
        >
          {running ? 'Repairing' : 'Repair now'}
        </button>
        {(running || paused || policy.policy !== 'manual') && (
          <button type="button" disabled={busy} onClick={() => act(paused ? '/resume' : '/pause')}>
            {paused ? 'Resume' : 'Pause'}
          </button>
        )}
      </div>
      <p class="hint">
        {POLICIES[policy.policy] ?? policy.policy}
        {dueAt !== null && `; the next is due ${moment(new Date(dueAt))}`}
        {paused && !running && '; held until it is resumed'}.
      </p>
    </section>
  );
}

function progress({ repair: { paused, done, total }, started }: State): string {
  if (paused) return 'Paused before its next step.';
  if (total === 0) return 'Starting …';
  const text = `Step ${done.toLocaleString('en')} of ${total.toLocaleString('en')}`;
  if (started === null) return text;
  const seconds = (performance.now() - started.at) / 1000;
  const rate = (done - started.done) / seconds;
  return seconds > 2 && rate > 0 ? `${text}, about ${duration((total - done) / rate)} left` : text;
}
