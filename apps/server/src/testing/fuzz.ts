// Requests made from an OpenAPI document: right ones, and right ones with something wrong in them.
import fc from 'fast-check';

/** The parts of JSON Schema that our document uses. */
interface Schema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  minimum?: number;
  maximum?: number;
}

interface Operation {
  parameters?: { in: 'path' | 'query' | 'header'; name: string; required?: boolean; schema: Schema }[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
  responses: Record<string, unknown>;
  security?: unknown[];
}

export interface Document {
  paths: Record<string, Record<string, Operation>>;
}

export interface FuzzRequest {
  /** Method and pattern. */
  operation: string;
  /** The statuses that the document knows for it. */
  documented: readonly string[];
  path: string;
  init: { method: string; headers: Record<string, string>; body?: string };
}

/** In every text that is sent, and so in no error that is answered. (The name of an unknown field is, if it looks like a name.) */
export const MARK = 'zq@x';

/** Requests to all operations of a document, each as likely as the others. */
export function requestsOf(document: Document): fc.Arbitrary<FuzzRequest> {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => requestOf(method.toUpperCase(), path, operation)),
  );
  return fc.oneof(...all);
}

function requestOf(method: string, path: string, operation: Operation): fc.Arbitrary<FuzzRequest> {
  const { parameters = [], requestBody, responses } = operation;
  const values = fc.record(
    Object.fromEntries(parameters.map(({ name, schema }) => [name, near(valuesOf(schema))])),
    { requiredKeys: parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name) },
  );
  const schema = requestBody?.content['application/json'].schema;
  const body = schema === undefined ? fc.constant(undefined) : bodyOf(schema);
  return fc.tuple(values, body, types).map(([given, text, type]) => {
    const place = (where: string): [string, string][] =>
      parameters
        .filter(({ in: at, name }) => at === where && name in given)
        .map(({ name }) => [name, asText(given[name])]);
    let target = path;
    for (const [name, value] of place('path'))
      target = target.replace(`{${name}}`, encodeURIComponent(value) || MARK);
    const query = new URLSearchParams(place('query'));
    // What no client can send is of no interest.
    const headers = place('header').map(([name, value]) => [name, value.replace(/[^\x20-\xff]/g, '')]);
    return {
      operation: `${method} ${path}`,
      documented: Object.keys(responses),
      path: query.size === 0 ? target : `${target}?${query}`,
      init: {
        method,
        headers: { ...Object.fromEntries(headers), ...(text !== undefined && { 'Content-Type': type }) },
        ...(text !== undefined && { body: text }),
      },
    };
  });
}

const types = fc.oneof(
  { weight: 12, arbitrary: fc.constant('application/json') },
  fc.constantFrom('text/plain', 'application/octet-stream', 'a;b', 'application/json; charset=utf-16'),
);

/** JSON that fits, nearly fits, or is none. */
function bodyOf(schema: Schema): fc.Arbitrary<string> {
  const json = near(valuesOf(schema)).map((value) => JSON.stringify(value));
  return fc.oneof(
    { weight: 8, arbitrary: json },
    fc.tuple(json, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1))),
    fc.tuple(json, marked, fc.nat()).map(([text, more, at]) => {
      const middle = at % (text.length + 1);
      return text.slice(0, middle) + more + text.slice(middle);
    }),
    // Too large for an app that takes 4 KiB.
    fc.constantFrom(`[${'0,'.repeat(4000)}0]`, '['.repeat(4090), `"${MARK.repeat(3000)}"`),
  );
}

const marked: fc.Arbitrary<string> = fc
  .oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'binary', maxLength: 6 }), fc.constant('\0'))
  .map((text) => MARK + text);

/** Values that a schema allows. */
function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valuesOf));
  const { minimum = 0, maximum = 1e6, minItems = 0, maxItems = 4 } = schema;
  switch (schema.type) {
    case 'string':
      return marked;
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'integer':
    case 'number':
      return fc.oneof(
        fc.integer({ min: Math.ceil(minimum), max: Math.ceil(minimum) + 3 }),
        fc.integer({ min: Math.ceil(minimum), max: maximum }),
      );
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}), {
        minLength: minItems,
        maxLength: Math.max(minItems, Math.min(maxItems, 4)),
      });
    case 'object':
      return objectOf(schema);
    default:
      return anything;
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): fc.Arbitrary<unknown> {
  const named = fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, valuesOf(schema)])),
    { requiredKeys: required },
  );
  if (typeof additionalProperties !== 'object') return named;
  const others = fc.dictionary(fc.string({ maxLength: 8 }), valuesOf(additionalProperties), { maxKeys: 3 });
  return fc.tuple(others, named).map(([more, own]) => ({ ...more, ...own }));
}

/** What nobody expects. */
const anything: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0,
    1.5,
    256,
    2 ** 53,
    1e300,
    '',
    [],
    {},
    [[[[[]]]]],
    '9'.repeat(400),
  ),
  marked,
  fc
    .jsonValue({ stringUnit: 'binary', maxDepth: 2 })
    .map((value) => JSON.parse(JSON.stringify(value, markTexts))),
);

function markTexts(_: string, value: unknown): unknown {
  return typeof value === 'string' ? MARK + value : value;
}

/** The value, or the value with up to three changes somewhere in it. */
function near(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const way = fc.array(fc.nat(), { minLength: 16, maxLength: 16 });
  const change = fc.record({ way, kind: fc.nat({ max: 4 }), value: anything });
  return fc
    .tuple(values, fc.oneof(fc.constant([]), fc.array(change, { minLength: 1, maxLength: 3 })))
    .map(([value, changes]) => changes.reduce((whole, one) => changed(whole, one), value));
}

interface Change {
  /** Which way down: two numbers a level. */
  way: readonly number[];
  kind: number;
  value: unknown;
}

function changed(whole: unknown, { way, kind, value }: Change): unknown {
  const [stop = 0, which = 0, ...rest] = way;
  if (typeof whole !== 'object' || whole === null || stop % 3 === 0) return kind === 0 ? [whole] : value;
  const keys = Object.keys(whole);
  const key = keys[which % Math.max(1, keys.length)];
  if (key === undefined || kind === 1) return added(whole, value);
  const copy = (Array.isArray(whole) ? [...whole] : { ...whole }) as Record<string, unknown>;
  if (kind === 2 && stop % 3 === 1) delete copy[key];
  else copy[key] = changed(copy[key], { way: rest, kind, value });
  return copy;
}

function added(whole: object, value: unknown): unknown {
  if (Array.isArray(whole)) return [...whole, value];
  return { ...whole, constructor: value };
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : (JSON.stringify(value) ?? '');
}
