// Erasing: whom or what, what it would do, then the deed and its receipt.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, api, randomKey } from '../model/api.ts';
import { counted, milliseconds, percent } from '../model/format.ts';
import { depthChanges, listed, stagesOf } from '../model/run.ts';
import { store } from '../model/store.ts';
import type { Evaluation, Receipt, Status, Target } from '../model/types.ts';
import { saveReceipt } from './receipts.tsx';

type By = 'records' | 'subjects';

export function ErasePanel({ status }: { status: Status }) {
  const [by, setBy] = useState<By>('records');
  const [text, setText] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const [preview, setPreview] = useState<{ receipt: Receipt; target: Target; key: string } | null>(null);
  const [done, setDone] = useState<Receipt | null>(null);
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);

  const forget = (): void => {
    setPreview(null);
    setError('');
    setDone(null);
    store.set({ doomed: [] });
  };
  const guarded = async (names: readonly string[], work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    try {
      await work();
    } catch (fault) {
      setError(fault instanceof ApiError ? explained(fault, names) : String(fault));
    } finally {
      setBusy(false);
    }
  };
  const show = (event: Event): void => {
    event.preventDefault();
    forget();
    const names = listed(text);
    if (names.length === 0) {
      setError(by === 'records' ? 'Name at least one record.' : 'Name somebody.');
      field.current?.focus();
      return;
    }
    void guarded(names, async () => {
      const target = { [by]: names };
      const receipt = await api.preview(target);
      setPreview({ receipt, target, key: randomKey() });
      store.set({ doomed: receipt.deactivated });
    });
  };
  const choose = (next: By): void => {
    forget();
    setBy(next);
  };
  const erase = (): void => {
    dialog.current?.close();
    if (preview === null) return;
    setError('');
    // Where the answer is lost the preview stays, and with it the key: asked again, it is the same erasure and brings its receipt.
    const { target, key } = preview;
    void guarded(target.records ?? target.subjects ?? [], async () => {
      const receipt = await api.erase(target, key);
      forget();
      setText('');
      setDone(receipt);
      store.addReceipt(receipt);
    });
  };
  return (
    <section class="panel erase" aria-labelledby="erase-title">
      <div class="bar">
        <h2 id="erase-title">Erase</h2>
        <Choice by={by} busy={busy} onChange={choose} />
      </div>
      <form onSubmit={show} aria-busy={busy}>
        <label for="ids">
          {by === 'records' ? 'Record ids, one per line' : 'Whom the records are about, one per line'}
        </label>
        <textarea
          id="ids"
          ref={field}
          rows={3}
          // What is asked about meanwhile, and then previewed, must be what stands here.
          readOnly={busy}
          spellcheck={false}
          autocomplete="off"
          placeholder={by === 'records' ? 'train/12' : 'customer-17'}
          value={text}
          aria-invalid={error !== ''}
          aria-describedby="erase-error"
          onInput={(event) => {
            forget();
            setText(event.currentTarget.value);
          }}
        />
        <p id="erase-error" class="error" role="alert">
          {error}
        </p>
        <div class="buttons">
          <button type="submit" class={preview === null ? 'primary' : ''} disabled={busy}>
            Preview
          </button>
          {preview !== null && (
            <button type="button" class="danger" disabled={busy} onClick={() => dialog.current?.showModal()}>
              Erase {counted(preview.receipt.records, 'record')} …
            </button>
          )}
        </div>
      </form>
      <div role="status">
        {preview !== null && <Preview {...preview} status={status} />}
        {done !== null && <Done receipt={done} />}
      </div>
      <dialog ref={dialog} aria-labelledby="sure">
        <h2 id="sure">Erase {counted(preview?.receipt.records ?? 0, 'record')}?</h2>
        <p>
          What has learnt from them is switched off at once and its weights are destroyed. This cannot be
          undone.
        </p>
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Keep them
          </button>
          <button type="button" class="danger solid" onClick={erase}>
            Erase
          </button>
        </div>
      </dialog>
    </section>
  );
}

function Choice({ by, busy, onChange }: { by: By; busy: boolean; onChange(by: By): void }) {
  const option = (value: By, name: string) => (
    <label>
      <input type="radio" name="by" checked={by === value} onChange={() => onChange(value)} />
      <span>{name}</span>
    </label>
  );
  return (
    <fieldset class="choice" disabled={busy}>
      <legend class="sr">Erase by</legend>
      {option('records', 'Records')}
      {option('subjects', 'Subject')}
    </fieldset>
  );
}

interface PreviewProps {
  receipt: Receipt;
  target: Target;
  status: Status;
}

/** What an erasure would do: the blast radius. */
function Preview({ receipt, target, status }: PreviewProps) {
  const stages = stagesOf(receipt.deactivated);
  const all = new Set(
    status.shards
      .flatMap(({ sequences }) => sequences.flatMap((one) => one.stages))
      .filter(({ active }) => active)
      .map(({ stage }) => stage),
  ).size;
  const changes = depthChanges(status, receipt.deactivated);
  const left = new Map(changes.map(({ shard, to }) => [shard, to]));
  // Of all shards: one that serves nothing already does not keep serving.
  const silent = status.shards.filter(
    ({ shard, servedDepth }) => (left.get(shard) ?? servedDepth) === 0,
  ).length;
  return (
    <div class="note">
      <p>
        <strong>
          {stages === 0 ? 'No stage goes.' : `${stages} of ${counted(all, 'active stage')} would go`}
        </strong>
        {stages > 0 && ', struck out in the map.'}
      </p>
      <ul class="changes">
        {changes.map(({ shard, from, to, of }) => (
          <li key={shard}>
            <span>Shard {shard}</span>
            <meter
              min={0}
              max={of}
              value={to}
              aria-label={`Shard ${shard}: served depth after the erasure`}
            />
            <span class="num">
              depth {from} → {to}
            </span>
          </li>
        ))}
      </ul>
      <p class="soft">
        {silent === 0
          ? 'Every shard keeps serving.'
          : `${counted(silent, 'shard')} would serve nothing until repaired.`}
      </p>
      <Expected target={target} />
    </div>
  );
}

/** How good what would be served then is, for whoever asks: it takes a pass over the evaluation data. */
function Expected({ target }: { target: Target }) {
  const [said, setSaid] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const measure = async (): Promise<void> => {
    setBusy(true);
    setSaid('Measuring …');
    try {
      setSaid(measured((await api.expected(target)) ?? null));
    } catch (error) {
      setSaid(
        error instanceof ApiError ? explained(error, target.records ?? target.subjects ?? []) : String(error),
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <div class="buttons small">
        <button type="button" disabled={busy} onClick={measure}>
          Expected accuracy
        </button>
      </div>
      {said !== null && <p class="num">{said}</p>}
    </>
  );
}

function measured(expected: Evaluation | null): string {
  if (expected === null) return 'Nothing would be served until repaired.';
  const { metric, examples } = expected;
  const value = expected[metric];
  const shown = value == null ? '–' : metric === 'accuracy' ? percent(value) : value.toPrecision(4);
  return `${metric} ${shown} on ${counted(examples, 'example')}`;
}

function Done({ receipt }: { receipt: Receipt }) {
  const place = useRef<HTMLDivElement>(null);
  // The button that was pressed is gone: whoever works by keyboard goes on here.
  useEffect(() => {
    if (document.activeElement === document.body) place.current?.focus();
  }, []);
  return (
    <div ref={place} class="note good" tabIndex={-1}>
      <p>
        <strong>Erased</strong>, acknowledged in <strong>{milliseconds(receipt.acknowledgedMs)}</strong>
      </p>
      <p class="soft num">
        {counted(stagesOf(receipt.deactivated), 'stage')} destroyed, version {receipt.before.version} →{' '}
        {receipt.after.version}
      </p>
      <div class="buttons">
        <button type="button" onClick={() => saveReceipt(receipt.erasure)}>
          Save the signed receipt
        </button>
      </div>
    </div>
  );
}

/** @param names what was sent: the server counts these, not the lines of the field */
function explained({ message, path, status }: ApiError, names: readonly string[]): string {
  const name = names[Number(path?.match(/^(?:records|subjects)\.(\d+)/)?.[1])];
  const text = name === undefined ? message : `${name}: ${message}`;
  return status === 403 ? `${text}. Sign in with an admin key to erase.` : text;
}
