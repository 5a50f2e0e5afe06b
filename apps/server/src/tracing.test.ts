import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type App, createApp } from './app.ts';
import { gate, image, post, settle } from './testing/request.ts';
import { RunError, StandIn } from './testing/stand-in.ts';
import { Tracing } from './tracing.ts';

const exporter = new InMemorySpanExporter();
const spansNamed = (name: string) => exporter.getFinishedSpans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan) => span.spanContext().spanId;
const traceOf = (span: ReadableSpan) => span.spanContext().traceId;
const linksOf = (span: ReadableSpan) => span.links.map((link) => link.context.spanId);
const childrenOf = (parent: ReadableSpan) =>
  exporter.getFinishedSpans().filter((span) => span.parentSpanContext?.spanId === idOf(parent));

let run: StandIn;
let app: App;

function start(options: { stepMs?: number } = {}): void {
  run = new StandIn(options);
  app = createApp(run, { onError: () => {} });
}

const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

function disable(): void {
  trace.disable();
  context.disable();
  propagation.disable();
}

beforeAll(() => provider.register());
// The process goes on with the tests of other files.
afterAll(async () => {
  disable();
  await provider.shutdown();
});
afterEach(async () => {
  await app.shutdown();
  exporter.reset();
});

describe('a prediction', () => {
  it('goes on with the trace of its client, waits, and is computed with others', async () => {
    start();
    const first = gate();
    run.beforeAnswer = () => first.opened;
    const traceparent = `00-${'a1'.repeat(16)}-${'b2'.repeat(8)}-01`;
    const answers = [post(app, '/v1/predict', { inputs: [image(1)] })];
    await settle();
    answers.push(post(app, '/v1/predict', { inputs: [image(2), image(3)] }, { traceparent }));
    answers.push(post(app, '/v1/predict', { inputs: [image(4)] }));
    await settle();
    first.open();
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200);

    const requests = spansNamed('POST /v1/predict');
    expect(requests).toHaveLength(3);
    const joined = requests.find((span) => traceOf(span) === 'a1'.repeat(16))!;
    expect(joined.parentSpanContext?.spanId).toBe('b2'.repeat(8));
    expect(joined.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/predict',
      'http.response.status_code': 200,
      's3t.version': run.servedVersion,
    });
    expect(joined.attributes['s3t.request']).toBe((await answers[1])!.headers.get('x-request-id'));

    const batches = spansNamed('predict.batch');
    expect(batches.map(({ attributes }) => attributes)).toEqual([
      { 's3t.requests': 1, 's3t.inputs': 1, 's3t.version': run.servedVersion },
      { 's3t.requests': 2, 's3t.inputs': 3, 's3t.version': run.servedVersion },
    ]);
    const [alone, shared] = batches as [ReadableSpan, ReadableSpan];
    expect(linksOf(alone)).toEqual([]);
    // In the trace of the first of the two; the other's trace has its share, and each knows of the other.
    expect(traceOf(shared)).toBe(traceOf(joined));
    const names = childrenOf(joined).map(({ name }) => name);
    expect(names.sort()).toEqual(['predict.batch', 'predict.forward', 'predict.queue']);
    const last = requests.find((span) => span !== joined && traceOf(span) !== traceOf(alone))!;
    const [queue, share] = childrenOf(last);
    expect([queue!.name, share!.name]).toEqual(['predict.queue', 'predict.forward']);
    expect(linksOf(shared)).toEqual([idOf(queue!)]);
    expect(linksOf(share!)).toEqual([idOf(shared)]);
    expect(queue!.attributes).toEqual({ 's3t.inputs': 1 });
  });

  it('that fails is told by its code, and by no message', async () => {
    start();
    run.beforeAnswer = () => {
      throw new RunError('unavailable', 'secret');
    };
    expect((await post(app, '/v1/predict', { inputs: [image(1)] })).status).toBe(503);
    const [forward] = spansNamed('predict.forward');
    expect(forward!.attributes['error.type']).toBe('unavailable');
    const [request] = spansNamed('POST /v1/predict');
    expect(request!.attributes).toMatchObject({ 'http.response.status_code': 503, 'error.type': '503' });
    for (const span of [forward!, request!]) expect(span.status).toEqual({ code: SpanStatusCode.ERROR });
    for (const span of exporter.getFinishedSpans()) expect(span.events).toEqual([]);
  });

  it('that nobody kept has no batch either', async () => {
    start();
    const traceparent = `00-${'a1'.repeat(16)}-${'b2'.repeat(8)}-00`;
    const response = await post(app, '/v1/predict', { inputs: [image(1)] }, { traceparent });
    expect(response.status).toBe(200);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });
});

it('an erasure has a span for each of its phases', async () => {
  start();
  const response = await post(app, '/v1/erasures', { records: ['train/0'] });
  const receipt = await response.json();
  const [erasure] = spansNamed('erasure');
  expect(erasure!.attributes).toEqual({
    's3t.dry_run': false,
    's3t.erasure': receipt.erasure,
    's3t.records': 1,
    's3t.deactivated': receipt.deactivated.length,
    's3t.version': receipt.after.version,
    's3t.repeated': false,
  });
  expect(erasure!.parentSpanContext?.spanId).toBe(idOf(spansNamed('POST /v1/erasures')[0]!));
  const phases = childrenOf(erasure!);
  expect(phases.map(({ name }) => name)).toEqual([
    ...['erasure.wait', 'erasure.transaction', 'erasure.swap', 'erasure.drain'],
  ]);
  const at = ([seconds, nanoseconds]: readonly [number, number]) => seconds * 1e6 + nanoseconds / 1e3;
  const [begin, end] = [at(erasure!.startTime), at(erasure!.endTime)];
  for (const { startTime, endTime } of phases) {
    // One clock, in steps of a microsecond.
    expect(at(startTime)).toBeGreaterThanOrEqual(begin - 1);
    expect(at(endTime)).toBeGreaterThanOrEqual(at(startTime) - 1);
    expect(at(endTime)).toBeLessThanOrEqual(end + 1);
  }
});

it('an erasure by OpenDSR is traced too', async () => {
  start();
  const response = await post(app, '/requests', {
    subject_request_id: crypto.randomUUID(),
    subject_request_type: 'erasure',
    submitted_time: '2026-01-31T12:00:00Z',
    subject_identities: [
      { identity_type: 'controller_customer_id', identity_value: 'somebody-1', identity_format: 'raw' },
    ],
  });
  expect(response.status).toBe(201);
  expect(spansNamed('erasure')[0]!.attributes).toMatchObject({ 's3t.records': 10 });
});

it('a repair is a trace of its own, with a span for each stage', async () => {
  start();
  const { deactivated } = await (await post(app, '/v1/erasures', { records: ['train/0'] })).json();
  expect((await post(app, '/v1/repair', {})).status).toBe(202);
  await vi.waitUntil(() => spansNamed('repair').length > 0);
  const [repair] = spansNamed('repair');
  expect(repair!.parentSpanContext).toBeUndefined();
  const stages = childrenOf(repair!);
  expect(stages.length).toBe(new Set(deactivated.map(({ stage }: { stage: string }) => stage)).size);
  for (const { name, attributes } of stages) {
    expect(name).toBe('repair.stage');
    expect(attributes).toEqual({
      's3t.shard': 0,
      's3t.position': expect.any(Number),
      's3t.outcome': 'published',
    });
  }
});

it('a repair that is stopped ends its spans', async () => {
  start({ stepMs: 5 });
  await post(app, '/v1/erasures', { records: ['train/0'] });
  await post(app, '/v1/repair', {});
  await settle(20);
  await app.shutdown();
  const [repair] = spansNamed('repair');
  expect(childrenOf(repair!).at(-1)!.attributes['s3t.outcome']).toBe('stopped');
});

it('a text has a span until its last token', async () => {
  start();
  Object.defineProperty(run, 'task', { value: 'causal-lm' });
  const body = { model: 's3t', prompt: 'secret', max_tokens: 4 };
  expect((await post(app, '/v1/completions', body)).status).toBe(200);
  expect(spansNamed('generate')[0]!.attributes).toEqual({
    's3t.version': run.servedVersion,
    's3t.prompt_tokens': 6,
    's3t.tokens': 4,
  });
});

it('spans hold nothing of what is sent or answered', async () => {
  start();
  const about = 'somebody-2';
  await post(app, '/v1/predict', { inputs: ['secret'] });
  await post(app, '/v1/predict', { inputs: [image(77)], top: 1 }, { 'user-agent': 'secret' });
  await post(app, '/v1/erasures', { records: ['train/0', 'train/1'] }, { 'Idempotency-Key': 'secret' });
  await post(app, '/v1/erasures', { records: ['train/0'] });
  await post(app, '/v1/erasures', { subjects: [about] });
  await app.request('/v1/erasures/secret?secret=secret');
  await app.request('/v1/secret');
  await app.request('/v1/status', { method: 'SECRET' });
  expect(spansNamed('GET /v1/erasures/:id')).toHaveLength(1);
  expect(spansNamed('erasure').map(({ attributes }) => attributes['error.type'])).toEqual([
    ...[undefined, 'already-erased', undefined],
  ]);
  const stages = (await run.status()).shards.flatMap(({ sequences }) => sequences[0]!.stages);
  const told = exporter.getFinishedSpans().map(({ name, attributes, status, events }) => {
    return JSON.stringify({ name, attributes, status, events });
  });
  expect(told.length).toBeGreaterThan(12);
  for (const text of told) {
    expect(text).not.toMatch(/secret|train\/|label-/i);
    expect(text).not.toContain(about);
    for (const { stage } of stages) expect(text).not.toContain(stage);
  }
});

it('paths that belong to no version are not traced, and each other one once', async () => {
  start();
  for (const path of ['/health/live', '/metrics', '/', '/openapi.json']) await app.request(path);
  expect(exporter.getFinishedSpans()).toEqual([]);
  for (const path of ['/v2', '/info', '/v1/status']) {
    expect((await app.request(path)).headers.has('x-s3t-version')).toBe(true);
    expect(spansNamed(`GET ${path}`)).toHaveLength(1);
  }
});

it('without a provider there is no tracing at all', () => {
  start();
  expect(Tracing.find()).toBeDefined();
  disable();
  expect(Tracing.find()).toBeUndefined();
  provider.register();
});
