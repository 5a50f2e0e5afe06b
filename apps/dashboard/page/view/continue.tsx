// Has a language model continue a text, shown as it comes.
import { useEffect, useRef, useState } from 'preact/hooks';
import { complete } from '../model/completion.ts';
import { store } from '../model/store.ts';
import type { Served, Status } from '../model/types.ts';
import { AnsweredBy } from './answered-by.tsx';

interface Told {
  prompt: string;
  text: string;
  served: Served;
  /** How it ended; empty while it goes on. */
  end: string;
}

const ENDS = { stop: 'Ended by itself.', length: 'As long as asked for.' };

export function Continue({ model, status }: { model: string; status: Status }) {
  const [prompt, setPrompt] = useState('');
  const [most, setMost] = useState(64);
  const [temperature, setTemperature] = useState(0);
  const [told, setTold] = useState<Told | null>(null);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);

  const ask = async (): Promise<void> => {
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setError('');
    setTold(null);
    const add = (text: string, end: string): void =>
      setTold((before) => before && { ...before, text: before.text + text, end });
    try {
      const asked = { model, prompt, max_tokens: most, temperature };
      const { pieces, served } = await complete(asked, abort.signal);
      setTold({ prompt, text: '', served, end: '' });
      store.set({ answered: served.version });
      for await (const { text, finish } of pieces) add(text, finish === null ? '' : ENDS[finish]);
    } catch (fault) {
      if (abort.signal.aborted) add('', 'Stopped.');
      else {
        add('', 'Cut off.');
        setError(fault instanceof Error ? fault.message : String(fault));
      }
    } finally {
      setBusy(false);
    }
  };
  // One button, so that the keyboard's focus stays where it is when the text begins and ends.
  const submit = (event: Event): void => {
    event.preventDefault();
    if (busy) running.current?.abort();
    else void ask();
  };
  return (
    <div class="ask">
      <form onSubmit={submit} class="texts">
        <label>
          Prompt
          <textarea
            rows={4}
            required
            value={prompt}
            onInput={(event) => setPrompt(event.currentTarget.value)}
          />
        </label>
        <div class="pair">
          <Amount label="Tokens at most" value={most} onValue={setMost} min={1} max={4096} step={1} />
          <Amount
            label="Temperature"
            value={temperature}
            onValue={setTemperature}
            min={0}
            max={2}
            step={0.1}
          />
        </div>
        <div class="buttons">
          <button type="submit" class="primary" formNoValidate={busy}>
            {busy ? 'Stop' : 'Continue'}
          </button>
        </div>
      </form>
      {/* While it is busy nothing is read out: a screen reader is told the whole text once, not each token. */}
      <div class="answer" role="status" aria-busy={busy}>
        <p class="error">{error}</p>
        {told === null ? (
          error === '' && <p class="empty">The text goes on here, with the stages that wrote it.</p>
        ) : (
          <>
            <p class="said">
              <span>{told.prompt}</span>
              {told.text}
            </p>
            <p class="soft">{told.end}</p>
            <AnsweredBy served={told.served} status={status} />
          </>
        )}
      </div>
    </div>
  );
}

function Amount({
  label,
  onValue,
  ...limits
}: {
  label: string;
  value: number;
  onValue(value: number): void;
  min: number;
  max: number;
  step: number;
}) {
  return (
    <label>
      {label}
      <input
        type="number"
        required
        {...limits}
        onInput={({ currentTarget: { valueAsNumber: value } }) => Number.isNaN(value) || onValue(value)}
      />
    </label>
  );
}
