// Receipts and the log: saved as files, and checked here with the code of `s3t verify --receipt`.

import type { ReceiptVerification } from '@s3t/ledger/log';
import { useState } from 'preact/hooks';
import { api } from '../model/api.ts';
import { counted, milliseconds, moment, short } from '../model/format.ts';
import type { LogCheck } from '../model/proof.ts';
import { stagesOf } from '../model/run.ts';
import { store } from '../model/store.ts';
import type { Receipt } from '../model/types.ts';

const SHOWN = 8;

/** Saves a receipt's file as it is: a byte changed would not verify. */
export async function saveReceipt(erasure: string): Promise<void> {
  try {
    save(`receipt-${erasure}.json`, await api.receiptFile(erasure), 'application/json');
  } catch (error) {
    store.failed(error);
  }
}

function save(name: string, bytes: Uint8Array<ArrayBuffer> | string, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function Receipts({ receipts, erased }: { receipts: readonly Receipt[]; erased: number }) {
  const [all, setAll] = useState(false);
  const [trusted, setTrusted] = useState('');
  const shown = all ? receipts : receipts.slice(0, SHOWN);
  return (
    <section class="panel receipts" aria-labelledby="receipts-title">
      <h2 id="receipts-title">Receipts and log</h2>
      <Log trusted={trusted} onTrusted={setTrusted} />
      {receipts.length === 0 ? (
        <p class="empty">
          {erased === 0
            ? 'Nothing has been erased yet. Each erasure leaves a signed receipt here.'
            : 'The receipts are being read …'}
        </p>
      ) : (
        <ol class="list">
          {shown.map((receipt) => (
            <Item key={receipt.erasure} receipt={receipt} trusted={trusted} />
          ))}
        </ol>
      )}
      {receipts.length > SHOWN && (
        <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? 'Show fewer' : `Show all ${receipts.length}`}
        </button>
      )}
    </section>
  );
}

function Item({ receipt, trusted }: { receipt: Receipt; trusted: string }) {
  const [result, setResult] = useState<ReceiptVerification | string | null>(null);
  const verify = async (): Promise<void> => {
    setResult('Checking …');
    try {
      const file = await api.receiptFile(receipt.erasure);
      const { checkReceipt } = await import('../model/proof.ts');
      setResult(await checkReceipt(file, trusted));
    } catch (error) {
      setResult(explained(error));
    }
  };
  const at = new Date(receipt.acknowledgedAt);
  return (
    <li>
      <div class="row">
        <div>
          <strong>{counted(receipt.records, 'record')}</strong>,{' '}
          {counted(stagesOf(receipt.deactivated), 'stage')}
          <span class="soft num">
            <time dateTime={at.toISOString()}>{moment(at)}</time> · {milliseconds(receipt.acknowledgedMs)} ·
            version {receipt.before.version} → {receipt.after.version}
          </span>
        </div>
        <div class="buttons small">
          <button type="button" onClick={verify} aria-label={`Verify the receipt of ${at.toLocaleString()}`}>
            Verify
          </button>
          <button
            type="button"
            onClick={() => saveReceipt(receipt.erasure)}
            aria-label={`Save the receipt of ${at.toLocaleString()}`}
          >
            Save
          </button>
        </div>
      </div>
      <div role="status">
        {typeof result === 'string' && <p class="soft">{result}</p>}
        {result !== null && typeof result === 'object' && <Verdict result={result} trusted={trusted} />}
      </div>
    </li>
  );
}

function Verdict({ result: { valid, checks }, trusted }: { result: ReceiptVerification; trusted: string }) {
  const key = trusted === '' ? 'the key that this server names' : 'the key you gave';
  return (
    <div class={valid ? 'note good' : 'note'}>
      <p>
        <strong>{valid ? 'Valid' : 'NOT valid'}</strong>, checked in this browser against {key}.
      </p>
      <ul class="checks">
        {checks.map(({ check, ok, detail }) => (
          <li key={check} data-ok={ok}>
            <span class="mark" aria-hidden="true" />
            <span>
              <b>
                {check}
                {!ok && ' failed'}
              </b>{' '}
              <span class="soft">{detail}</span>
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Log({ trusted, onTrusted }: { trusted: string; onTrusted(key: string): void }) {
  const [log, setLog] = useState<LogCheck | null>(null);
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const check = async (): Promise<void> => {
    setBusy(true);
    setError('');
    try {
      const { checkLog } = await import('../model/proof.ts');
      setLog(await checkLog(trusted));
    } catch (fault) {
      setLog(null);
      setError(explained(fault));
    } finally {
      setBusy(false);
    }
  };
  const saveKey = async (): Promise<void> => {
    try {
      save('key.txt', `${await api.publicKey()}\n`, 'text/plain');
    } catch (fault) {
      store.failed(fault);
    }
  };
  return (
    <div class="logroot">
      <div class="buttons small">
        <button type="button" disabled={busy} onClick={check}>
          Check the log
        </button>
        <button type="button" onClick={saveKey}>
          Save the public key
        </button>
      </div>
      <div role="status">
        {log !== null && (
          <p class="num">
            <b>{counted(log.size, 'entry').replace('entrys', 'entries')}</b>, root{' '}
            <code title={log.root}>{short(log.root)}…</code>, signed.{' '}
            <span class="soft">
              {log.since === null
                ? 'From now on this browser notices if it is rewritten.'
                : `It only grew since ${moment(new Date(log.since.at))}, when it had ${log.since.size}.`}
            </span>
          </p>
        )}
      </div>
      <p class="error" role="alert">
        {error}
      </p>
      <details>
        <summary>Check against a key you were given</summary>
        <label for="trusted">
          Public key, as <code>s3t key</code> prints it; empty takes the server's
        </label>
        <input
          id="trusted"
          type="text"
          spellcheck={false}
          autocomplete="off"
          value={trusted}
          onInput={(event) => onTrusted(event.currentTarget.value.trim())}
        />
      </details>
    </div>
  );
}

function explained(error: unknown): string {
  // Browsers offer WebCrypto only where nobody on the way can change the page.
  if (!isSecureContext)
    return 'Browsers check signatures only on https or localhost. Save the receipt and use s3t verify.';
  return error instanceof Error ? error.message : String(error);
}
