import { type Counter, type Histogram, Registry } from './exposition.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the app counts while it works. What the run knows itself is read from its status when /metrics is asked. */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly requests: Counter = this.registry.counter('s3t_http_requests_total', 'Answered HTTP requests.');
  readonly requestSeconds: Histogram = this.registry.histogram(
    's3t_http_request_seconds',
    'Time from a request to its answer, event streams left out.',
    SECONDS,
  );
  readonly inputs: Counter = this.registry.counter('s3t_predicted_inputs_total', 'Inputs answered.');
  readonly tokens: Counter = this.registry.counter(
    's3t_generated_tokens_total',
    'Tokens of texts that were continued.',
  );
  readonly batches: Histogram = this.registry.histogram(
    's3t_prediction_batch_inputs',
    'Inputs of a forward pass.',
    [1, 2, 4, 8, 16, 32, 64, 128],
  );
  readonly rejected: Counter = this.registry.counter(
    's3t_predictions_rejected_total',
    'Prediction requests turned away because the queue was full.',
  );
  readonly recomputed: Counter = this.registry.counter(
    's3t_predictions_recomputed_total',
    'Predictions computed again because the version moved before they were sent.',
  );
  readonly erasures: Counter = this.registry.counter('s3t_erasures_total', 'Erasures acknowledged.');
  readonly repaired: Counter = this.registry.counter(
    's3t_erasures_repaired_total',
    'Erasures that a complete repair has followed.',
  );
  /** Erasures that are neither acknowledged nor refused yet. */
  erasing = 0;
  readonly callbacks: Counter = this.registry.counter(
    's3t_callbacks_total',
    'Tries of OpenDSR callbacks by result, and callbacks given up.',
  );
  readonly erasureSeconds: Histogram = this.registry.histogram(
    's3t_erasure_seconds',
    'Time from an erasure request to its acknowledgement.',
    SECONDS,
  );

  constructor() {
    this.registry.gauge('s3t_erasures_in_progress', 'Erasures at work.', () => this.erasing);
  }
}
