// Asks the model, and shows which stages answered.
import type { ComponentChild } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { api } from '../model/api.ts';
import { percent } from '../model/format.ts';
import { AGAIN_MS, store } from '../model/store.ts';
import type { Answer, Status } from '../model/types.ts';
import { AnsweredBy } from './answered-by.tsx';
import { DrawingPad } from './drawing-pad.tsx';

/** What is asked with, by what the model does. */
type Panel = (about: { status: Status }) => ComponentChild;

export function TryIt({ status }: { status: Status }) {
  const [Ask, setAsk] = useState<Panel | null>(null);
  const [fault, setFault] = useState('');
  useEffect(() => {
    let timer = 0;
    const load = (): Promise<void> =>
      panelFor().then(
        (panel) => {
          setFault('');
          setAsk(() => panel);
        },
        (error) => {
          setFault(String(error.message));
          timer = window.setTimeout(load, AGAIN_MS);
        },
      );
    void load();
    return () => clearTimeout(timer);
  }, []);
  return (
    <section class="panel try" aria-labelledby="try-title">
      <h2 id="try-title">Try it</h2>
      <p class="error">{fault}</p>
      {Ask !== null && <Ask status={status} />}
    </section>
  );
}

async function panelFor(): Promise<Panel> {
  const { id, task } = await api.model();
  if (task === 'causal-lm') {
    // Only here: most runs predict, and it is not needed for the first paint.
    const { Continue } = await import('./continue.tsx');
    return ({ status }) => <Continue model={id} status={status} />;
  }
  const takes = await api.inputs(id);
  // The answer of a regression is a number, and no share of anything.
  const shown =
    task === 'text-regression' ? (value: number) => String(Number(value.toPrecision(6))) : percent;
  return ({ status }) => <Predict takes={takes} shown={shown} status={status} />;
}

interface PredictProps {
  takes: readonly string[];
  shown(score: number): string;
  status: Status;
}

function Predict({ takes, shown, status }: PredictProps) {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const asked = useRef(0);
  const ask = async (input: unknown): Promise<void> => {
    asked.current += 1;
    const mine = asked.current;
    setBusy(true);
    setError('');
    try {
      const given = await api.predict(input);
      // Something else was drawn meanwhile: its answer may have come before this one.
      if (mine !== asked.current) return;
      setAnswer(given);
      store.set({ answered: given.version });
    } catch (fault) {
      if (mine !== asked.current) return;
      setAnswer(null);
      setError(fault instanceof Error ? fault.message : String(fault));
    } finally {
      if (mine === asked.current) setBusy(false);
    }
  };
  return (
    <div class="ask">
      {takes.includes('image') ? (
        <DrawingPad onImage={(image) => ask({ image })} onError={setError} busy={busy} />
      ) : (
        <Texts fields={takes} onText={(text) => ask({ text })} busy={busy} />
      )}
      <div class="answer" aria-live="polite">
        <p class="error">{error}</p>
        {answer === null ? (
          error === '' && <p class="empty">The answer comes here, with the stages that gave it.</p>
        ) : (
          <Answered answer={answer} shown={shown} status={status} />
        )}
      </div>
    </div>
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

type AnsweredProps = Pick<PredictProps, 'shown' | 'status'> & { answer: Answer };

function Answered({ answer, shown, status }: AnsweredProps) {
  return (
    <>
      <ol class="scores">
        {(answer.answers[0] ?? []).map(({ label, score }, rank) => (
          <li key={label} data-best={rank === 0 || undefined}>
            <span>{label}</span>
            {shown === percent ? <meter min={0} max={1} value={score} aria-hidden="true" /> : <span />}
            <span class="num">{shown(score)}</span>
          </li>
        ))}
      </ol>
      <AnsweredBy served={answer} status={status} />
    </>
  );
}
