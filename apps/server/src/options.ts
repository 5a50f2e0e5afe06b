import { type ImageDecoder, sharpDecoder } from '@s3t/data';
import type { KeyRing } from './access.ts';
import type { RequestLine } from './request-log.ts';

/** Limits and habits of the app. Every field has a default. */
export interface AppOptions {
  /** Most inputs of one forward pass, and of one request. */
  maxBatch?: number;
  /** Most inputs waiting for a forward pass; beyond it a request is answered 429. */
  maxQueue?: number;
  /** How long a prediction may take, waiting included, milliseconds; beyond it a request is answered 503. */
  predictionMs?: number;
  /** Most texts that are continued or wait for it; beyond them a request is answered 429. */
  maxGenerations?: number;
  /** How long a text may take from its request to its end, milliseconds. */
  generationMs?: number;
  /** Most record ids of one erasure. */
  maxRecords?: number;
  /** Most bytes of a request's body. */
  maxBody?: number;
  /** Decimal places of scores. Coarse on purpose: fine scores before and after an erasure help to extract what was erased. */
  scoreDigits?: number;
  /** Exact scores for everybody, and not only for whoever has an audit or admin key. */
  fullScores?: boolean;
  /** What OpenDSR calls the kind of name that `data.subject` holds. */
  subjectIdentity?: string;
  /** Milliseconds before each further try of a callback that was not taken. */
  callbackDelays?: readonly number[];
  /** What clients of other APIs call the model. */
  modelName?: string;
  /** Labels per answer where the request does not say `top`. */
  top?: number;
  /** Most event streams open at once. */
  maxStreams?: number;
  /** Milliseconds between two comments that keep an idle event stream alive. */
  heartbeatMs?: number;
  /** Fewest milliseconds between two `step` events. */
  stepMs?: number;
  /** How long an acknowledgement waits for answers that are still on their way to slow readers before it cuts them off. */
  egressMs?: number;
  /** What decodes the image files of requests; its `maxPixels` must be obeyed. Default: sharp. */
  imageDecoder?: ImageDecoder;
  /** Who may do what. Left out, everybody may do everything: then who can reach the app is up to whoever embeds it. */
  keys?: KeyRing;
  /** Requests per second of one key, or of one address where no keys are needed; twice as many at once. Default 0: no limit. */
  rateLimit?: number;
  /** Told of every answered request; see `jsonLog`. */
  onRequest?: (line: RequestLine) => void;
  /** Told of every error that is the server's own fault, with the `x-request-id` where one met it. Default: the console. */
  onError?: (error: unknown, request?: string) => void;
}

export type Options = Required<Omit<AppOptions, 'keys'>> & Pick<AppOptions, 'keys'>;

export function withDefaults(options: AppOptions): Options {
  return {
    imageDecoder: sharpDecoder,
    maxBatch: 64,
    maxQueue: 512,
    predictionMs: 30_000,
    maxGenerations: 64,
    generationMs: 300_000,
    maxRecords: 10_000,
    maxBody: 32 * 1024 * 1024,
    scoreDigits: 3,
    fullScores: false,
    subjectIdentity: 'controller_customer_id',
    callbackDelays: [1000, 10_000, 60_000, 600_000, 3_600_000],
    modelName: 's3t',
    top: 5,
    maxStreams: 64,
    heartbeatMs: 15_000,
    stepMs: 250,
    egressMs: 20,
    rateLimit: 0,
    onRequest: () => {},
    onError: (error) => console.error(error),
    ...options,
  };
}
