import type { Status } from '@s3t/unlearner';
import { Hono } from 'hono';
import type { Shared } from '../context.ts';

/** `/metrics`, Prometheus' text. */
export function metricsRoutes({
  service,
  access,
  batcher,
  egress,
  generations,
  hub,
  repair,
  metrics: { registry },
}: Shared): Hono {
  let status: Status | undefined;
  const read = (of: (status: Status) => number) => () => (status === undefined ? Number.NaN : of(status));
  registry.gauge(
    's3t_version',
    'Version of the served ensemble.',
    read((s) => s.version),
  );
  registry.gauge(
    's3t_records',
    'Records that remain.',
    read((s) => s.records),
  );
  registry.gauge(
    's3t_records_erased',
    'Records erased.',
    read((s) => s.erased),
  );
  registry.gauge(
    's3t_stages_missing',
    'Stages still to be trained.',
    read((s) => s.missing),
  );
  registry.gauge('s3t_served_depth', 'Depth of the stack a shard serves; 0 serves nothing.', () =>
    (status?.shards ?? []).map((shard) => [{ shard: shard.shard }, shard.servedDepth]),
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
    read((s) => s.repair.pending),
  );
  registry.gauge(
    's3t_repair_due_seconds',
    'When the policy wants a repair, seconds since 1970; not there when time alone does not make it due.',
    () => (status?.repair.dueAt ? [[{}, status.repair.dueAt / 1000]] : []),
  );

  return new Hono().get('/metrics', access.allow('audit'), async (c) => {
    status = await service.status();
    return c.body(registry.text(), 200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
}
