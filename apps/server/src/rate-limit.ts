/** Buckets kept before those that are full again are thrown away. */
const MAX_BUCKETS = 10_000;

interface Bucket {
  tokens: number;
  /** When `tokens` was right, milliseconds. */
  at: number;
}

/** A token bucket for everybody: `perSecond` in the long run, `burst` at once. */
export class RateLimiter {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(perSecond: number, burst: number = perSecond, now: () => number = () => performance.now()) {
    this.#perMs = perSecond / 1000;
    this.#burst = Math.max(1, burst);
    this.#now = now;
  }

  /** Takes a token of `who`. Returns 0, or the seconds until there will be one. */
  take(who: string): number {
    const now = this.#now();
    const tokens = this.#tokens(this.#buckets.get(who), now);
    if (tokens < 1) return Math.ceil((1 - tokens) / this.#perMs / 1000);
    if (this.#buckets.size >= MAX_BUCKETS) this.#sweep(now);
    this.#buckets.set(who, { tokens: tokens - 1, at: now });
    return 0;
  }

  #tokens(bucket: Bucket | undefined, now: number): number {
    if (bucket === undefined) return this.#burst;
    return Math.min(this.#burst, bucket.tokens + (now - bucket.at) * this.#perMs);
  }

  /** A full bucket is as good as none. Where none is full, the oldest goes: memory must not grow with the number of strangers. */
  #sweep(now: number): void {
    for (const [who, bucket] of this.#buckets)
      if (this.#tokens(bucket, now) >= this.#burst) this.#buckets.delete(who);
    for (const who of this.#buckets.keys()) {
      if (this.#buckets.size < MAX_BUCKETS) break;
      this.#buckets.delete(who);
    }
  }
}
