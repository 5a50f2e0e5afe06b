// Asks the model, and shows which stages answered.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, api } from '../model/api.ts';
import { counted, percent, short } from '../model/format.ts';
import { stackOf } from '../model/run.ts';
import { store } from '../model/store.ts';
import type { Answer, Status } from '../model/types.ts';
import { DrawingPad } from './drawing-pad.tsx';

export function TryIt({ status }: { status: Status }) {
  const [takes, setTakes] = useState<readonly string[] | null>(null);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    api.inputs().then(
      ({ names }) => setTakes(names),
      (fault) => setError(explained(fault)),
    );
  }, []);
  const ask = async (input: unknown): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      const given = await api.predict(input);
      setAnswer(given);
      store.set({ answered: given.version });
    } catch (fault) {
      setAnswer(null);
      setError(explained(fault));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="panel try" aria-labelledby="try-title">
      <h2 id="try-title">Try it</h2>
      <div class="ask">
        {takes?.includes('image') && (
          <DrawingPad onImage={(image) => ask({ image })} onError={setError} busy={busy} />
        )}
        {takes !== null && !takes.includes('image') && (
          <Texts fields={takes} onText={(text) => ask({ text })} busy={busy} />
        )}
        <div class="answer" aria-live="polite">
          <p class="error">{error}</p>
          {answer === null ? (
            error === '' && <p class="empty">The answer comes here, with the stages that gave it.</p>
          ) : (
            <Answered answer={answer} status={status} />
          )}
        </div>
      </div>
    </section>
  );
}

function Texts({
  fields,
  onText,
  busy,
}: {
  fields: readonly string[];
  onText(text: unknown): void;
  busy: boolean;
}) {
  const [texts, setTexts] = useState<Record<string, string>>({});
  const submit = (event: Event): void => {
    event.preventDefault();
    onText(Object.fromEntries(fields.map((name) => [name, texts[name] ?? ''])));
  };
  return (
    <form onSubmit={submit} class="texts">
      {fields.map((name) => (
        <label key={name}>
          {name}
          <textarea
            rows={fields.length > 1 ? 2 : 4}
            value={texts[name] ?? ''}
            onInput={(event) => setTexts({ ...texts, [name]: event.currentTarget.value })}
          />
        </label>
      ))}
      <div class="buttons">
        <button type="submit" class="primary" disabled={busy}>
          Ask
        </button>
      </div>
    </form>
  );
}

function Answered({ answer: { answers, version, manifest }, status }: { answer: Answer; status: Status }) {
  const scores = answers[0] ?? [];
  const current = version === status.version;
  const serving = status.shards.filter(({ servedDepth }) => servedDepth > 0);
  const stages = serving.reduce((sum, { servedDepth }) => sum + servedDepth, 0);
  return (
    <>
      <ol class="scores">
        {scores.map(({ label, score }, rank) => (
          <li key={label} data-best={rank === 0 || undefined}>
            <span>{label}</span>
            <meter min={0} max={1} value={score} aria-hidden="true" />
            <span class="num">{percent(score)}</span>
          </li>
        ))}
      </ol>
      <p class="soft num">
        Version {version}, manifest <code title={manifest}>{short(manifest)}</code>
        {current
          ? `: ${counted(stages, 'stage')} of ${counted(serving.length, 'shard')}, outlined in the map.`
          : '; another one is served by now.'}
      </p>
      {current && (
        <ul class="stacks" aria-label="The stacks that answered, by slice">
          {serving.map((shard) => (
            <li key={shard.shard}>
              shard {shard.shard}: sequence {shard.servedSequence}, slices {stackOf(shard).join(' → ')}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function explained(fault: unknown): string {
  return fault instanceof ApiError || fault instanceof Error ? fault.message : String(fault);
}
