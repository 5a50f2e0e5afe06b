import type { Context } from 'hono';
import type { Access } from './access.ts';
import type { Batcher } from './batcher.ts';
import type { Callbacks } from './callbacks.ts';
import type { Current, Version } from './current.ts';
import type { Egress } from './egress.ts';
import type { EventHub } from './event-hub.ts';
import type { Generations } from './generations.ts';
import type { History } from './history.ts';
import type { ImageFiles } from './image-files.ts';
import type { Metrics } from './metrics.ts';
import type { Options } from './options.ts';
import type { Receipts } from './receipts.ts';
import type { Repair } from './repair.ts';
import type { Service } from './service.ts';
import type { Standing } from './standing.ts';

/** What the routes share: made once per app. */
export interface Shared {
  service: Service;
  /** `service.erase`, counted where it is no dry run, and in a span where spans are taken. */
  erase: Service['erase'];
  options: Options;
  access: Access;
  batcher: Batcher;
  current: Current;
  egress: Egress;
  hub: EventHub;
  history: History;
  callbacks: Callbacks;
  images: ImageFiles;
  generations: Generations;
  receipts: Receipts;
  repair: Repair;
  standing: Standing;
  metrics: Metrics;
  /** Aborted when the app shuts down. */
  closing: AbortSignal;
}

/** Says which ensemble an answer belongs to. */
export function stamp(c: Context, served: Version): void {
  c.header('x-s3t-version', String(served.version));
  c.header('x-s3t-manifest', served.manifest);
}
