// /docs: the server's own OpenAPI document, readable.
import { byId, el } from './dom.js';
import { outline } from './schema.js';

/**
 * @typedef {{ description?: string, content?: Record<string, { schema?: any }> }} Body
 * @typedef {{ operationId: string, summary?: string, description?: string, requestBody?: Body, responses: Record<string, Body>,
 *   parameters?: { in: string, name: string, description?: string, schema?: any }[] }} Operation
 */

/** @type {{ info: { title: string, description?: string }, paths: Record<string, Record<string, Operation>> }} */
const api = await (await fetch('/openapi.json')).json();

byId('title').textContent = `${api.info.title} API`;
const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);
byId('contents').replaceChildren(
  ...operations.map(({ path, method, operation }) =>
    el('a', { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`),
  ),
);
const root = byId('operations');
root.replaceChildren(...operations.map(section));
root.removeAttribute('aria-busy');
// The section named in the address was not there when the page loaded.
if (location.hash !== '') document.getElementById(location.hash.slice(1))?.scrollIntoView();

/** @param {{ path: string, method: string, operation: Operation }} entry */
function section({ path, method, operation }) {
  const title = el(
    'h2',
    {},
    el('span', { class: 'method', 'data-method': method }, method.toUpperCase()),
    el('code', {}, path),
  );
  /** @type {HTMLElement[]} */
  const parts = [title, el('p', {}, [operation.summary, operation.description].filter(Boolean).join('. '))];
  if (operation.parameters !== undefined) {
    parts.push(el('h3', {}, 'Parameters'));
    for (const { name, description } of operation.parameters) {
      parts.push(el('p', {}, el('code', {}, name), description === undefined ? '' : ` ${description}`));
    }
  }
  if (operation.requestBody !== undefined) parts.push(el('h3', {}, 'Body'), shape(operation.requestBody));
  parts.push(
    el('h3', {}, 'Answers'),
    el('div', { class: 'answers' }, ...Object.entries(operation.responses).map(answer)),
  );
  return el('section', { id: operation.operationId }, ...parts);
}

/** @param {[string, Body]} entry */
function answer([status, body]) {
  return el(
    'details',
    {},
    el('summary', {}, el('strong', {}, status), ` ${body.description ?? ''}`),
    shape(body),
  );
}

/** @param {Body} body */
function shape(body) {
  const [type, media] = Object.entries(body.content ?? {})[0] ?? ['', {}];
  return el('pre', { tabindex: 0 }, media.schema === undefined ? type : outline(media.schema));
}
