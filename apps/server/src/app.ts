import { Hono, type MiddlewareHandler } from 'hono';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { Access } from './access.ts';
import { Batcher } from './batcher.ts';
import { limitBody } from './body.ts';
import { Callbacks } from './callbacks.ts';
import { type Shared, stamp } from './context.ts';
import { Current } from './current.ts';
import { Egress } from './egress.ts';
import { EventHub } from './event-hub.ts';
import { Generations } from './generations.ts';
import { History } from './history.ts';
import { ImageFiles } from './image-files.ts';
import { Metrics } from './metrics.ts';
import { observe } from './observe.ts';
import { openapi } from './openapi.ts';
import { type AppOptions, withDefaults } from './options.ts';
import { hidesCause, Problem, problemOf, respondProblem } from './problem.ts';
import { Receipts } from './receipts.ts';
import { Repair } from './repair.ts';
import { backupRoutes } from './routes/backups.ts';
import { erasureRoutes } from './routes/erasures.ts';
import { eventRoutes } from './routes/events.ts';
import { healthRoutes } from './routes/health.ts';
import { historyRoutes } from './routes/history.ts';
import { logRoutes } from './routes/log.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { openInferenceRoutes } from './routes/open-inference.ts';
import { openaiRoutes } from './routes/openai.ts';
import { openaiTextRoutes } from './routes/openai-text.ts';
import { opendsrRoutes } from './routes/opendsr.ts';
import { pageRoutes } from './routes/pages.ts';
import { predictRoutes } from './routes/predict.ts';
import { repairRoutes } from './routes/repair.ts';
import { statusRoutes } from './routes/status.ts';
import { teiRoutes } from './routes/tei.ts';
import { headers, sameSiteOnly } from './security.ts';
import type { Service } from './service.ts';
import { Standing } from './standing.ts';
import { Tracing } from './tracing.ts';

/** The paths whose answers belong to a version. */
const API = ['/v1/*', '/v2/*', '/predict', '/info', '/requests/*'];

/** A Hono app over a run, and how to end it. */
export type App = Hono & {
  /**
   * Ends event streams, refuses new work with 503, stops a running repair after its step, and resolves when the predictions
   * taken before have been answered. Closing the listener and the service is up to who opened them.
   */
  shutdown(): Promise<void>;
};

/**
 * The HTTP API and the dashboard over `service`. Web standards only: runs where `app.fetch` can be called, on Node, Deno and Bun.
 *
 * @example
 * ```ts
 * const unlearner = await Unlearner.open({ run: 'runs/cats' });
 * const app = createApp(unlearner);
 * Deno.serve(app.fetch);
 * ```
 */
export function createApp(service: Service, options: AppOptions = {}): App {
  const tracing = Tracing.find();
  const { shared, shutdown } = share(service, options, tracing);
  const app = new Hono();
  app.use(headers());
  app.use(observe(shared.metrics, shared.options));
  if (tracing) for (const path of API) app.use(path, tracing.request());
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        c.header('Allow', methods.join(', '));
        return respondProblem(c, new Problem(405, 'method', `this path takes ${methods.join(', ')}`));
      },
    }),
  );
  app.use(sameSiteOnly);
  const api: MiddlewareHandler = async (c, next) => {
    await next();
    // Who was not let in is told nothing.
    if (c.get('caller') === undefined) return;
    // Routes that answer from an ensemble say which; the others tell the one served now.
    // Not knowing it must not spoil an answer: that the ledger cannot be read is for the routes to say.
    const version = c.res.headers.has('x-s3t-version')
      ? undefined
      : await shared.current.get().catch(() => undefined);
    if (version !== undefined) stamp(c, version);
    c.header('Cache-Control', 'no-store');
  };
  for (const path of API) app.use(path, api);

  for (const routes of [
    predictRoutes,
    teiRoutes,
    openInferenceRoutes,
    openaiRoutes,
    openaiTextRoutes,
    statusRoutes,
    erasureRoutes,
    opendsrRoutes,
    logRoutes,
    repairRoutes,
    backupRoutes,
    historyRoutes,
    eventRoutes,
  ]) {
    app.route('/', routes(shared));
  }
  app.route('/', healthRoutes(shared));
  app.route('/', metricsRoutes(shared));
  app.route('/', pageRoutes());
  app.get('/openapi.json', openapi(app));

  app.notFound((c) => respondProblem(c, new Problem(404, 'not-found', 'no such path')));
  app.onError((error, c) => {
    const problem = problemOf(error);
    if (hidesCause(problem)) shared.options.onError(error, c.get('requestId'));
    return respondProblem(c, problem);
  });
  return Object.assign(app, { shutdown });
}

function share(
  service: Service,
  given: AppOptions,
  tracing: Tracing | undefined,
): { shared: Shared; shutdown(): Promise<void> } {
  const options = withDefaults(given);
  const metrics = new Metrics();
  // A body of unknown length is kept while it is read and counted: of strangers nothing is.
  const access = new Access(options.keys, options.rateLimit, limitBody(options.maxBody));
  const closing = new AbortController();
  const current = new Current(service);
  const generations = new Generations(service, {
    most: options.maxGenerations,
    deadlineMs: options.generationMs,
    closing: closing.signal,
    tracing,
  });
  const egress = new Egress(options.egressMs, (version) => generations.mayLeave(version));
  const hub = new EventHub(service, {
    stepMs: options.stepMs,
    beforeErased: (version) => egress.settle(version),
  });
  const callbacks = new Callbacks({
    delays: options.callbackDelays,
    counter: metrics.callbacks,
    service,
    onError: options.onError,
  });
  const repair = new Repair(service, hub, options.onError, tracing);
  const standing = new Standing(service);
  const receipts = new Receipts(service);
  const history = new History({ service, hub, current });
  const forgetLosses = service.onLost?.(() => {
    for (const keeper of [repair, standing, receipts]) keeper.lost();
    hub.add({ event: 'lost', data: {} });
    // What an opening run finishes of an erasure is acknowledged there: no older answer may still be on its way then.
    return egress.settle(Number.POSITIVE_INFINITY);
  });
  const batcher = new Batcher({
    predict: (inputs) => service.predict(inputs),
    maxBatch: options.maxBatch,
    batch: service.batchSize,
    maxQueue: options.maxQueue,
    deadlineMs: options.predictionMs,
    onBatch: (inputs) => metrics.batches.observe(inputs),
    tracing,
  });
  const uncounted: Service['erase'] = tracing
    ? tracing.erase(service)
    : (target, erasure) => service.erase(target, erasure);
  const erase: Service['erase'] = (target, erasure) => {
    if (erasure?.dryRun) return uncounted(target, erasure);
    metrics.erasing++;
    return uncounted(target, erasure).finally(() => metrics.erasing--);
  };
  const stopCounting = service.on((event) => {
    if (event.type === 'repaired') metrics.repaired.add(event.erasures.length);
  });
  const shutdown = async (): Promise<void> => {
    // Streams first: they are what keeps connections open.
    closing.abort();
    const closed = Promise.all([batcher.close(), repair.close(), callbacks.close()]);
    service.end?.();
    await closed;
    forgetLosses?.();
    stopCounting();
    history.close();
    standing.close();
    receipts.close();
    hub.close();
    current.close();
  };
  return {
    shared: {
      service,
      erase,
      options,
      access,
      batcher,
      current,
      egress,
      hub,
      history,
      callbacks,
      images: new ImageFiles(options.imageDecoder),
      generations,
      receipts,
      repair,
      standing,
      metrics,
      closing: closing.signal,
    },
    shutdown,
  };
}
