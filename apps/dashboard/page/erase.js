// Erasing: ids, what it would do, then the deed and its receipt.
import { ApiError, erase, previewErasure } from './api.js';
import { byId, counted, el, milliseconds, short } from './dom.js';

/**
 * @typedef {import('./types.js').Receipt} Receipt
 * @typedef {import('./types.js').Status} Status
 */

/**
 * @param {{ status(): Status | undefined, mark(deactivated: Receipt['deactivated']): void, done(receipt: Receipt): void }} page
 */
export function setUpErase(page) {
  const form = /** @type {HTMLFormElement} */ (byId('erase-form'));
  const ids = /** @type {HTMLTextAreaElement} */ (byId('ids'));
  const button = /** @type {HTMLButtonElement} */ (byId('erase'));
  const result = byId('erase-result');
  const error = byId('erase-error');
  /** What was previewed, and the key it will be erased under. @type {{ records: string[], key: string } | undefined} */
  let agreed;

  const forget = () => {
    agreed = undefined;
    button.disabled = true;
    button.textContent = 'Erase';
    page.mark([]);
    error.textContent = '';
    ids.removeAttribute('aria-invalid');
  };

  /** @param {() => Promise<void>} work */
  const guarded = async (work) => {
    form.setAttribute('aria-busy', 'true');
    try {
      await work();
    } catch (fault) {
      forget();
      result.replaceChildren();
      ids.setAttribute('aria-invalid', 'true');
      error.textContent = fault instanceof ApiError ? explained(fault) : String(fault);
    } finally {
      form.removeAttribute('aria-busy');
    }
  };

  ids.addEventListener('input', () => {
    if (agreed !== undefined) result.replaceChildren();
    forget();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    forget();
    const records = listed(ids.value);
    if (records.length === 0) {
      error.textContent = 'Name at least one record.';
      ids.focus();
      return;
    }
    guarded(async () => {
      const preview = await previewErasure(records);
      agreed = { records, key: randomKey() };
      page.mark(preview.deactivated);
      result.replaceChildren(previewed(preview, page.status()));
      button.textContent = `Erase ${counted(preview.records, 'record')}`;
      button.disabled = false;
      button.focus();
    });
  });
  button.addEventListener('click', () => {
    if (agreed === undefined) return;
    const { records, key } = agreed;
    button.disabled = true;
    guarded(async () => {
      const receipt = await erase(records, key);
      forget();
      ids.value = '';
      result.replaceChildren(receiptCard(receipt));
      page.done(receipt);
    });
  });
}

/** @param {string} text */
function listed(text) {
  return [...new Set(text.split('\n').map((line) => line.trim()))].filter((line) => line !== '');
}

/** @param {ApiError} fault */
function explained({ message, path }) {
  const line = path?.match(/^records\.(\d+)/)?.[1];
  return line === undefined ? message : `Line ${Number(line) + 1}: ${message}`;
}

/** `crypto.randomUUID` is missing on pages served over plain HTTP. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/**
 * @param {Receipt} preview
 * @param {Status | undefined} status
 */
function previewed(preview, status) {
  const stages = new Set(preview.deactivated.map(({ stage }) => stage)).size;
  const text =
    stages === 0
      ? `Erasing ${counted(preview.records, 'record')} deactivates nothing.`
      : `Erasing ${counted(preview.records, 'record')} deactivates ${counted(stages, 'stage')}, marked in the grid.`;
  const changes = status === undefined ? [] : depthChanges(status, preview.deactivated);
  const list = changes.map(({ shard, from, to }) => el('li', {}, `Shard ${shard}: depth ${from} → ${to}`));
  return el('div', { class: 'note' }, el('p', {}, text), el('ul', {}, ...list));
}

/**
 * How deep each shard would still serve.
 * @param {Status} status
 * @param {Receipt['deactivated']} deactivated
 */
function depthChanges(status, deactivated) {
  const gone = new Set(deactivated.map(({ stage }) => stage));
  return status.shards.flatMap(({ shard, servedDepth, sequences }) => {
    const depths = sequences.map(({ stages }) => {
      const end = stages.findIndex(({ stage, active }) => !active || gone.has(stage));
      return end === -1 ? stages.length : end;
    });
    const to = Math.max(0, ...depths);
    return to === servedDepth ? [] : [{ shard, from: servedDepth, to }];
  });
}

/** @param {Receipt} receipt */
function receiptCard(receipt) {
  const href = `/v1/erasures/${encodeURIComponent(receipt.erasure)}/receipt`;
  const save = el('a', { href, download: `receipt-${receipt.erasure}.json` }, 'Save the signed receipt');
  const stages = new Set(receipt.deactivated.map(({ stage }) => stage)).size;
  const facts = [
    ['Erasure', short(receipt.erasure)],
    ['Records', receipt.records.toLocaleString('en')],
    ['Stages deactivated', String(stages)],
    ['Version', `${receipt.before.version} → ${receipt.after.version}`],
    ['Manifest', `${short(receipt.before.manifest)} → ${short(receipt.after.manifest)}`],
  ];
  return el(
    'div',
    { class: 'note receipt' },
    el(
      'p',
      {},
      el('strong', {}, 'Erased'),
      ` and acknowledged in `,
      el('strong', {}, milliseconds(receipt.acknowledgedMs)),
    ),
    el('dl', {}, ...facts.flatMap(([name, value]) => [el('dt', {}, name ?? ''), el('dd', {}, value ?? '')])),
    save,
  );
}
