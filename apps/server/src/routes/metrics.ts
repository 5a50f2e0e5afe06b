import { Hono } from 'hono';
import { describeRoute } from 'hono-openapi';
import type { Shared } from '../context.ts';
import { problems } from '../openapi.ts';
import type { Numbers } from '../standing.ts';

/** `/metrics`, Prometheus' text. */
export function metricsRoutes({
  service,
  access,
  batcher,
  egress,
  generations,
  hub,
  repair,
  standing,
  metrics: { registry },
}: Shared): Hono {
  let numbers: Numbers | undefined;
  const read = (of: (numbers: Numbers) => number) => () => (numbers === undefined ? Number.NaN : of(numbers));
  registry.gauge(
    's3t_version',
    'Version of the served ensemble.',
    read(({ version }) => version),
  );
  registry.gauge(
    's3t_records',
    'Records that remain.',
    read(({ records }) => records),
  );
  registry.gauge(
    's3t_records_erased',
    'Records erased.',
    read(({ erased }) => erased),
  );
  registry.gauge(
    's3t_stages_missing',
    'Stages still to be trained.',
    read(({ missing }) => missing),
  );
  registry.gauge('s3t_served_depth', 'Depth of the stack a shard serves; 0 serves nothing.', () =>
    service.servedDepths.map((depth, shard) => [{ shard }, depth]),
  );
  registry.gauge('s3t_prediction_queue', 'Inputs waiting.', () => batcher.waiting);
  registry.gauge('s3t_generations', 'Texts that are continued or wait for it.', () => generations.size);
  registry.gauge('s3t_answers_leaving', 'Answers handed to the runtime and not yet out.', () => egress.size);
  registry.gauge('s3t_event_streams', 'Open event streams.', () => hub.size);
  registry.gauge('s3t_repair_running', 'Whether a repair runs.', () => Number(repair.state.running));
  registry.gauge('s3t_repair_paused', 'Whether repairs are paused.', () => Number(repair.state.paused));
  registry.gauge(
    's3t_repair_steps_done',
    'Training steps of the repair that runs or ran last.',
    () => repair.state.done,
  );
  registry.gauge('s3t_repair_steps', 'Training steps it has in all.', () => repair.state.total);
  registry.gauge(
    's3t_records_awaiting_repair',
    'Erased records that no complete repair has followed yet.',
    () => repair.state.pending,
  );
  registry.gauge(
    's3t_repair_due_seconds',
    'When the policy wants a repair, seconds since 1970; not there when time alone does not make it due.',
    () => (repair.state.dueAt === null ? [] : [[{}, Date.parse(repair.state.dueAt) / 1000]]),
  );

  const description = describeRoute({
    operationId: 'metrics',
    summary: "Numbers of run and server, as Prometheus' text",
    responses: {
      200: { description: 'The numbers.', content: { 'text/plain': { schema: { type: 'string' } } } },
      ...problems(),
    },
  });
  return new Hono().get('/metrics', access.allow('audit'), description, async (c) => {
    numbers = await standing.numbers();
    return c.body(registry.text(), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
}
