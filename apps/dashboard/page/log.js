// What happened, newest first, and the receipts.
import { byId, counted, el, milliseconds } from './dom.js';

const MOST = 200;

/**
 * Adds a line to the event log.
 * @param {string} kind
 * @param {string} text
 */
export function log(kind, text) {
  const now = new Date();
  const time = el('time', { datetime: now.toISOString() }, now.toLocaleTimeString([], { hour12: false }));
  const list = byId('log');
  list.prepend(el('li', { 'data-kind': kind }, time, el('span', {}, text)));
  while (list.children.length > MOST) list.lastElementChild?.remove();
}

/** @param {import('./types.js').Receipt[]} receipts newest first */
export function showReceipts(receipts) {
  byId('receipts').replaceChildren(...receipts.map(item));
  byId('no-receipts').hidden = receipts.length > 0;
}

/** @param {import('./types.js').Receipt} receipt */
export function addReceipt(receipt) {
  byId('receipts').prepend(item(receipt));
  byId('no-receipts').hidden = true;
}

/** @param {import('./types.js').Receipt} receipt */
function item(receipt) {
  const at = new Date(receipt.acknowledgedAt);
  const stages = new Set(receipt.deactivated.map(({ stage }) => stage)).size;
  return el(
    'li',
    {},
    el(
      'a',
      { href: `/v1/erasures/${encodeURIComponent(receipt.erasure)}` },
      `${counted(receipt.records, 'record')}, ${counted(stages, 'stage')}`,
    ),
    el(
      'span',
      {},
      `${milliseconds(receipt.acknowledgedMs)}, `,
      el('time', { datetime: at.toISOString() }, at.toLocaleString()),
    ),
  );
}
