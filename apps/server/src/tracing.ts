import {
  type Attributes,
  type Context,
  context,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { GenerationPiece, Prediction, Receipt, UnlearnerEvent } from '@s3t/unlearner';
import type { MiddlewareHandler } from 'hono';
import { routeOf } from './observe.ts';
import { codeOf, problemOf } from './problem.ts';
import type { Service } from './service.ts';

const SCOPE = '@s3t/server';
/** Others may be anything a client made up. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT', 'TRACE']);

/** A request's way through the batcher. */
export interface Turn {
  /** What its spans belong to. */
  readonly parent: Context;
  readonly inputs: number;
  /** The span of its wait: its end may be told again. */
  readonly queue: Span;
}

/** What is told of a text while it goes on. */
export interface TextSpan {
  piece(piece: GenerationPiece): void;
  failed(error: unknown): void;
  end(): void;
}

/**
 * OpenTelemetry spans of what the app does. Counts, versions and places in the run only: nothing of what was sent or answered, no record, no
 * message of an error, no id of a stage (it hangs on the records and has no salt).
 *
 * They nest by the active context, so that what others measure (a database's client, say) finds its place: the SDK brings its manager.
 */
export class Tracing {
  readonly #tracer: Tracer;

  private constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Undefined where the process has no tracer provider: then the app runs without any of this. */
  static find(): Tracing | undefined {
    const provider = trace.getTracerProvider();
    // Without a provider the API gives its own stand-in, which has nobody to pass spans to.
    const isOff = provider instanceof ProxyTracerProvider && provider.getDelegateTracer(SCOPE) === undefined;
    return isOff ? undefined : new Tracing(provider.getTracer(SCOPE));
  }

  /** A span for each request, until its answer's headers. It goes on with the client's trace, or within what measures HTTP already. */
  request(): MiddlewareHandler {
    return async (c, next) => {
      const active = context.active();
      const isMeasured = trace.getSpan(active) !== undefined;
      const parent = isMeasured ? active : propagation.extract(active, c.req.raw.headers, HEADERS);
      const method = METHODS.has(c.req.method) ? c.req.method : '_OTHER';
      const kind = isMeasured ? SpanKind.INTERNAL : SpanKind.SERVER;
      const attributes = { 'http.request.method': method, 's3t.request': c.get('requestId') };
      const span = this.#tracer.startSpan(method, { kind, attributes }, parent);
      try {
        await context.with(trace.setSpan(parent, span), next);
      } finally {
        const { status } = c.res;
        const route = routeOf(c);
        span.updateName(`${method} ${route}`);
        span.setAttributes({ 'http.route': route, 'http.response.status_code': status });
        const version = c.res.headers.get('x-s3t-version');
        if (version !== null) span.setAttribute('s3t.version', Number(version));
        if (status >= 500) {
          span.setAttribute('error.type', String(status));
          span.setStatus({ code: SpanStatusCode.ERROR });
        }
        span.end();
      }
    };
  }

  /** The active request begins to wait for a batch. */
  wait(inputs: number): Turn {
    const parent = context.active();
    const queue = this.#tracer.startSpan('predict.queue', { attributes: { 's3t.inputs': inputs } }, parent);
    return { parent, inputs, queue };
  }

  /** Nobody waits for its answer any more. */
  leave({ queue }: Turn): void {
    queue.end();
  }

  /**
   * A forward pass for several requests. Its own span stands in the trace of the first of them and links to the others; in each trace
   * there is a span of the request's share, which links to it.
   */
  async batch(turns: readonly Turn[], forward: () => Promise<Prediction>): Promise<Prediction> {
    for (const { queue } of turns) queue.end();
    const kept = turns.filter(({ queue }) => isSampled(queue));
    const [first, ...others] = kept;
    // The batcher goes on in the context of whoever woke it, which is nobody's here.
    if (first === undefined) return context.with(ROOT_CONTEXT, forward);
    const inputs = turns.reduce((sum, turn) => sum + turn.inputs, 0);
    const links = others.map(({ queue }) => ({ context: queue.spanContext() }));
    const attributes = { 's3t.requests': turns.length, 's3t.inputs': inputs };
    const batch = this.#tracer.startSpan('predict.batch', { attributes, links }, first.parent);
    const shares = kept.map((turn) => {
      const share = {
        attributes: { 's3t.inputs': turn.inputs },
        links: [{ context: batch.spanContext() }],
      };
      return this.#tracer.startSpan('predict.forward', share, turn.parent);
    });
    const spans = [batch, ...shares];
    try {
      const prediction = await context.with(trace.setSpan(first.parent, batch), forward);
      for (const span of spans) span.setAttribute('s3t.version', prediction.version);
      return prediction;
    } catch (error) {
      for (const span of spans) fail(span, error);
      throw error;
    } finally {
      for (const span of spans) span.end();
    }
  }

  /** `service.erase` within a span, with one for each of its phases. */
  erase(service: Service): Service['erase'] {
    return async (target, options) => {
      const start = now();
      const parent = context.active();
      const attributes = { 's3t.dry_run': options?.dryRun === true };
      const span = this.#tracer.startSpan('erasure', { startTime: start, attributes }, parent);
      const within = trace.setSpan(parent, span);
      const erased: (UnlearnerEvent & { type: 'erased' })[] = [];
      const stop = service.on((event) => {
        if (event.type === 'erased') erased.push(event);
      });
      try {
        const receipt = await context.with(within, () => service.erase(target, options));
        span.setAttributes(attributesOf(receipt));
        const phases = erased.find((event) => event.receipt.erasure === receipt.erasure)?.phases ?? {};
        // What comes before the first is the wait for other erasures and for the step or the answer under way.
        const begun = phases.transaction?.[0];
        if (begun !== undefined) this.#phase('wait', [start, Math.max(start, begun)], within);
        for (const [name, times] of Object.entries(phases)) this.#phase(name, times, within);
        return receipt;
      } catch (error) {
        fail(span, error);
        throw error;
      } finally {
        stop();
        span.end(now());
      }
    };
  }

  #phase(name: string, [start, end]: readonly [number, number], within: Context): void {
    this.#tracer.startSpan(`erasure.${name}`, { startTime: start }, within).end(end);
  }

  /** A repair within a trace of its own, with a span for each stage that it trains. */
  async repair<T>(service: Service, work: () => Promise<T>): Promise<T> {
    const span = this.#tracer.startSpan('repair', {}, ROOT_CONTEXT);
    const within = trace.setSpan(ROOT_CONTEXT, span);
    const open = new Map<string, Span>();
    const end = (stage: string, outcome: string) => {
      open.get(stage)?.setAttribute('s3t.outcome', outcome).end();
      open.delete(stage);
    };
    const outcomes: { [Type in UnlearnerEvent['type']]?: string } = {
      'stage-published': 'published',
      'stage-superseded': 'superseded',
    };
    const stop = service.on((event) => {
      if (event.type === 'stage-started') {
        const attributes = { 's3t.shard': event.shard, 's3t.position': event.position };
        open.set(event.stage, this.#tracer.startSpan('repair.stage', { attributes }, within));
      }
      const outcome = outcomes[event.type];
      if (outcome !== undefined && 'stage' in event) end(event.stage, outcome);
    });
    try {
      return await context.with(within, work);
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      stop();
      for (const stage of [...open.keys()]) end(stage, 'stopped');
      span.end();
    }
  }

  /** A text that goes on, until its last token or what ends it. */
  text(): TextSpan {
    const span = this.#tracer.startSpan('generate', {}, context.active());
    let tokens = 0;
    return {
      piece: ({ version, promptTokens }) => {
        if (tokens++ === 0) span.setAttributes({ 's3t.version': version, 's3t.prompt_tokens': promptTokens });
      },
      failed: (error) => fail(span, error),
      end: () => span.setAttribute('s3t.tokens', tokens).end(),
    };
  }
}

const HEADERS = {
  get: (headers: Headers, name: string) => headers.get(name) ?? undefined,
  keys: (headers: Headers) => [...headers.keys()],
};

function isSampled(span: Span): boolean {
  return (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0;
}

function attributesOf({ erasure, records, deactivated, after, repeated }: Receipt): Attributes {
  return {
    's3t.erasure': erasure,
    's3t.records': records,
    's3t.deactivated': deactivated.length,
    's3t.version': after.version,
    's3t.repeated': repeated === true,
  };
}

/** By its code: its message may name a record. */
function fail(span: Span, error: unknown): void {
  const { status, code } = problemOf(error);
  span.setAttribute('error.type', codeOf(error) ?? code);
  // What the client did wrong is no fault of the span's.
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
}

/** Milliseconds since 1970 with fractions, as the times of phases are. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
