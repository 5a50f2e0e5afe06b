// Requests to the server this page came from.

/** What the server said was wrong. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {string} [path] the field at fault
   */
  constructor(message, path) {
    super(message);
    this.path = path;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 */
async function request(path, init) {
  let response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError('The server cannot be reached.');
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw new ApiError(body?.error?.message ?? `The server answered ${response.status}.`, body?.error?.path);
}

/** @returns {Promise<import('./types.js').Status>} */
export function getStatus() {
  return request('/v1/status');
}

/** @returns {Promise<import('./types.js').Receipt[]>} newest first */
export async function getReceipts() {
  return (await request('/v1/erasures?limit=50')).erasures;
}

/** @returns {Promise<import('./types.js').RepairState>} */
export function startRepair() {
  return request('/v1/repair', { method: 'POST' });
}

/**
 * @param {string[]} records
 * @returns {Promise<import('./types.js').Receipt>} what erasing them would do
 */
export function previewErasure(records) {
  return request('/v1/erasures', { ...json({ records, dryRun: true }) });
}

/**
 * @param {string[]} records
 * @param {string} key sent again with the same records, it erases nothing twice
 * @returns {Promise<import('./types.js').Receipt>}
 */
export function erase(records, key) {
  const { method, headers, body } = json({ records });
  return request('/v1/erasures', { method, body, headers: { ...headers, 'Idempotency-Key': key } });
}

/** @param {unknown} value */
function json(value) {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) };
}
