// A run in memory: real shards, sequences, versions and erasures, but nothing is trained and answers are constants. For tests of the
// HTTP layer that must control time; everything else is tested against the real thing.
import type {
  Backup,
  EraseOptions,
  ErasurePhases,
  ErasureTarget,
  GenerationPiece,
  Input,
  LabelScore,
  Prediction,
  Prompt,
  Receipt,
  RepairStanding,
  RunConfig,
  ShardStatus,
  Status,
  TrainingSummary,
  UnfinishedErasure,
  UnlearnerEvent,
  WorkOptions,
} from '@s3t/unlearner';
import type { Point } from '../history.ts';
import type { Log, Service } from '../service.ts';
import { cyclicOrders, digest, type Wanted, wantedStages } from './plan.ts';

interface Options {
  shards?: number;
  slices?: number;
  budget?: number;
  records?: number;
  /** Milliseconds of a training step. */
  stepMs?: number;
  reads?: 'image' | 'text';
}

const STEPS = 20;

export class RunError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export class StandIn implements Service {
  readonly #options: Required<Options>;
  readonly #orders: number[][];
  /** Record number to its revision-bearing slice; erased ones are gone. */
  readonly #records = new Map<string, { shard: number; slice: number }>();
  readonly #revisions: number[][];
  readonly #active = new Set<string>();
  readonly #listeners = new Set<(event: UnlearnerEvent) => void>();
  readonly #receipts: Receipt[] = [];
  readonly #unfinished = new Set<UnfinishedErasure>();
  readonly #keys = new Map<string, { body: string; receipt: Receipt }>();
  readonly #gone = new Set<string>();
  #version = 0;
  #validSince = 0;
  readonly createdAt: number = Date.UTC(2026, 0, 31, 12);
  readonly labels: readonly string[] = [...Array.from({ length: 256 }, (_, n) => `label-${n}`), 'other'];
  /** Sizes of the batches predicted so far. */
  readonly batches: number[] = [];
  /** What an input is answered. */
  answer: (input: Input) => LabelScore[] = (input) => {
    const first =
      'image' in input
        ? input.image.pixels[0]!
        : ((typeof input.text === 'string' ? input.text : Object.values<string>(input.text)[0])?.length ?? 0);
    return [
      { label: `label-${first}`, score: 0.98765 },
      { label: 'other', score: 0.01235 },
    ];
  };
  /** What waits for a repair: nothing, until a test says so. */
  standing: RepairStanding = {
    ...{ policy: { policy: 'manual' }, pending: 0, since: null, isDue: false, dueAt: null },
  };
  /** What a dry run that evaluates tells. */
  expectation: Pick<Receipt, 'expected' | 'depths'> = { expected: null, depths: [0, 0, 0] };
  /** Called for every batch before it is answered; may wait or throw. */
  beforeAnswer: (inputs: readonly Input[]) => Promise<void> | void = () => {};
  /** Called before each piece of a text; may wait or throw. */
  beforePiece: () => Promise<void> | void = () => {};
  /** Called within an erasure, after its swap and before its acknowledgement. */
  beforeAcknowledge: () => Promise<void> | void = () => {};

  constructor(options: Options = {}) {
    const all = {
      shards: 3,
      slices: 4,
      budget: 2,
      records: 1200,
      stepMs: 0,
      reads: 'image' as const,
      ...options,
    };
    this.#options = all;
    this.#orders = cyclicOrders(all.slices, all.budget);
    this.#revisions = Array.from({ length: all.shards }, () => new Array<number>(all.slices).fill(0));
    for (let n = 0; n < all.records; n++) {
      this.#records.set(`train/${n}`, {
        shard: n % all.shards,
        slice: Math.floor(n / all.shards) % all.slices,
      });
    }
    for (const stage of this.#wanted()) this.#active.add(stage.id);
    this.#version = this.#active.size;
  }

  get task(): RunConfig['task'] {
    return this.reads === 'image' ? 'image-classification' : 'text-classification';
  }

  get config(): Service['config'] {
    return { data: this.reads === 'image' ? { image: 'photo' } : { text: ['text'] } };
  }

  get reads(): 'image' | 'text' {
    return this.#options.reads;
  }

  get servedVersion(): number | null {
    return this.#active.size === 0 ? null : this.#version;
  }

  get validSince(): number | null {
    return this.#active.size === 0 ? null : this.#validSince;
  }

  get servedDepths(): readonly number[] {
    return Array.from({ length: this.#options.shards }, (_, shard) => this.#shard(shard).servedDepth);
  }

  #stamp(): { version: number; manifest: string } {
    return { version: this.#version, manifest: digest(`manifest ${this.#version}`) };
  }

  /** Says that something happened. */
  tell(event: UnlearnerEvent): void {
    this.#emit(event);
  }

  /** Serves another version from now on, as a publication would, or as an erasure. */
  bump(cause: 'publication' | 'erasure' = 'publication'): void {
    this.#version += 1;
    if (cause === 'erasure') this.#validSince = this.#version;
    this.#emit({ type: 'version', ...this.#stamp() });
  }

  async predict(inputs: readonly Input[]): Promise<Prediction> {
    this.batches.push(inputs.length);
    const served = this.#stamp();
    await this.beforeAnswer(inputs);
    if (this.#active.size === 0) throw new RunError('unavailable', 'no shard serves anything yet');
    const answers = inputs.map((input) => this.answer(input));
    return { ...served, stages: [...this.#active], answers };
  }

  /** Says a text again, a letter a token. */
  async *generate(
    prompt: Prompt,
    { maxTokens = Number.POSITIVE_INFINITY }: { maxTokens?: number } = {},
  ): AsyncGenerator<GenerationPiece, void, undefined> {
    const said = typeof prompt === 'string' ? prompt : JSON.stringify(prompt);
    const letters = [...said].slice(0, maxTokens);
    if (letters.length === 0) throw new RunError('usage', 'there is no token to read');
    const served = { ...this.#stamp(), stages: [...this.#active] };
    for (const [at, text] of letters.entries()) {
      await this.beforePiece();
      const finish = at + 1 < letters.length ? null : said.length > at + 1 ? 'length' : 'stop';
      yield { text, finish, promptTokens: said.length, ...served };
    }
  }

  async version(): Promise<{ version: number; manifest: string }> {
    return this.#stamp();
  }

  async status(): Promise<Status> {
    const shards = Array.from({ length: this.#options.shards }, (_, shard) => this.#shard(shard));
    const missing = new Set(
      this.#wanted()
        .map(({ id }) => id)
        .filter((id) => !this.#active.has(id)),
    ).size;
    return {
      ...this.#stamp(),
      shards,
      records: this.#records.size,
      erased: this.#gone.size,
      missing,
      repair: this.standing,
      erasuresBySlice: this.#revisions[0]!.map((_, slice) =>
        this.#revisions.reduce((sum, shard) => sum + shard[slice]!, 0),
      ),
      deletionRate: 9.52,
    };
  }

  async evaluate(): Promise<{ accuracy: number; version: number }> {
    return { accuracy: 0.75, version: this.#version };
  }

  async receipt(erasure: string): Promise<Receipt | null> {
    return this.#receipts.find((receipt) => receipt.erasure === erasure) ?? null;
  }

  async unfinished(): Promise<readonly UnfinishedErasure[]> {
    return [...this.#unfinished];
  }

  async receiptFor(idempotencyKey: string): Promise<Receipt | null> {
    return this.#keys.get(idempotencyKey)?.receipt ?? null;
  }

  /** Of five entries, signed by nobody. The first erasure is from before there were receipts. */
  readonly log: Log = {
    publicKey: async () => 'stand-in+00000000+key',
    sign: async (data) => new Uint8Array(64).fill(data.length % 256),
    checkpoint: async () => 'stand-in\n5\nroot\n\n— stand-in signature\n',
    consistency: async (from, to = 5) => {
      if (to > 5) throw new RunError('usage', `to: must be from 1 to 5, as the log has 5; not ${to}`);
      if (from > to)
        throw new RunError('usage', `from: must be from 1 to ${to}, as to is ${to}; not ${from}`);
      return { from, to, hashes: [digest(`${from} ${to}`)] };
    },
    receiptFile: async (erasure) =>
      this.#receipts.findIndex((receipt) => receipt.erasure === erasure) > 0
        ? `${JSON.stringify({ format: 's3t-receipt-1', erasure })}\n`
        : null,
  };

  async receipts(): Promise<readonly Receipt[]> {
    return this.#receipts;
  }

  /** Records 0 to 9 are about `somebody-0`, the next ten about `somebody-1`, and so on. */
  async erase(
    target: ErasureTarget,
    { dryRun, evaluate, idempotencyKey, receivedAt = Date.now(), drain }: EraseOptions = {},
  ): Promise<Receipt> {
    const start = performance.now();
    const known = idempotencyKey === undefined ? undefined : this.#keys.get(idempotencyKey);
    if (known !== undefined) {
      if (known.body !== JSON.stringify(target))
        throw new RunError('idempotency-conflict', 'this key belongs to another request');
      return { ...known.receipt, repeated: true };
    }
    const ids = [
      ...(target.records ?? []),
      ...(target.subjects ?? []).flatMap((subject) => this.#idsOf(subject)),
    ];
    const records = ids.map((id, at) => {
      const record = this.#records.get(id);
      if (this.#gone.has(id))
        throw new RunError('already-erased', '1 record was erased before; nothing was changed');
      if (record === undefined)
        throw new RunError('unknown-record', `records.${at}: is not in this run; nothing was erased`);
      return record;
    });
    const before = this.#stamp();
    const hit = (stage: Wanted): boolean =>
      records.some(({ shard, slice }) => stage.shard === shard && stage.slices.includes(slice));
    const doomed = this.#wanted().filter((stage) => this.#active.has(stage.id) && hit(stage));
    const now = () => performance.timeOrigin + performance.now();
    const phases: ErasurePhases = {};
    if (dryRun !== true) {
      const begun = now();
      for (const { id } of doomed) this.#active.delete(id);
      for (const id of ids) this.#records.delete(id);
      for (const id of ids) this.#gone.add(id);
      for (const { shard, slice } of records) this.#revisions[shard]![slice]! += 1;
      phases.transaction = [begun, now()];
      if (doomed.length > 0) this.bump('erasure');
      phases.swap = [phases.transaction[1], now()];
      await drain?.(this.#stamp().version);
      phases.drain = [phases.swap[1], now()];
    }
    const erasing: UnfinishedErasure = {
      erasure: `e${this.#receipts.length}-${digest(ids.join()).slice(0, 8)}`,
      records: ids.length,
      deactivated: doomed.map(({ id, shard, sequence, position }) => ({
        stage: id,
        shard,
        sequence,
        position,
      })),
      before,
      after: this.#stamp(),
      receivedAt: new Date(receivedAt).toISOString(),
    };
    if (dryRun !== true) {
      this.#unfinished.add(erasing);
      await this.beforeAcknowledge();
      this.#unfinished.delete(erasing);
    }
    const receipt: Receipt = {
      ...erasing,
      acknowledgedMs: performance.now() - start,
      acknowledgedAt: new Date().toISOString(),
    };
    if (dryRun === true) return { ...receipt, dryRun, ...(evaluate && this.expectation) };
    this.#receipts.push(receipt);
    if (idempotencyKey !== undefined)
      this.#keys.set(idempotencyKey, { body: JSON.stringify(target), receipt });
    this.#emit({ type: 'erased', receipt, phases });
    return receipt;
  }

  #idsOf(subject: string): string[] {
    const first = 10 * Number(/^somebody-(\d+)$/.exec(subject)?.[1]);
    const ids = Array.from({ length: 10 }, (_, n) => `train/${first + n}`).filter((id) =>
      this.#records.has(id),
    );
    if (ids.length === 0)
      throw new RunError('unknown-subject', '1 subject has no record in this run; nothing was erased');
    return ids;
  }

  /** Kept as a ledger keeps them: an app over the same stand-in finds them again. */
  readonly kept: Map<string, string> = new Map();

  /** It keeps no old versions; a test may tell some. */
  past: Omit<Point, 'accuracy'>[] = [];

  async history(limit: number): Promise<Omit<Point, 'accuracy'>[]> {
    return this.past.slice(-limit);
  }

  async notes(prefix: string): Promise<Map<string, unknown>> {
    const found = [...this.kept].filter(([name]) => name.startsWith(prefix));
    return new Map(found.map(([name, value]) => [name, JSON.parse(value)]));
  }

  async note(name: string, value: unknown): Promise<void> {
    if (value === null) this.kept.delete(name);
    else this.kept.set(name, JSON.stringify(value));
  }

  async stageBackup(): Promise<Backup> {
    return {
      ...{ run: 'stand-in', at: new Date(this.createdAt).toISOString(), ...this.#stamp() },
      ...{ erasures: this.#receipts.length, files: 1, bytes: 1, signingKey: true },
    };
  }

  async repairStanding(): Promise<RepairStanding> {
    return this.standing;
  }

  async repair({ signal, turn }: WorkOptions = {}): Promise<TrainingSummary> {
    const start = performance.now();
    const missing = new Map(
      this.#wanted()
        .filter(({ id }) => !this.#active.has(id))
        .map((stage) => [stage.id, stage]),
    );
    const totalSteps = missing.size * STEPS;
    this.#emit({ type: 'work-started', stages: missing.size, steps: totalSteps });
    let index = 0;
    for (const { id: stage, shard, position, slices } of missing.values()) {
      this.#emit({ type: 'stage-started', stage, shard, position, slices, index, stages: missing.size });
      for (let step = 1; step <= STEPS; step++) {
        await turn?.();
        await new Promise((resolve) => setTimeout(resolve, this.#options.stepMs));
        signal?.throwIfAborted();
        const doneSteps = index * STEPS + step;
        this.#emit({ type: 'step', stage, step, steps: STEPS, doneSteps, totalSteps, loss: null });
      }
      this.#active.add(stage);
      this.bump();
      this.#emit({
        type: 'stage-published',
        stage,
        weights: digest(stage),
        shard,
        position,
        version: this.#version,
      });
      index += 1;
    }
    if (this.standing.pending > 0) {
      this.standing = { ...this.standing, pending: 0, since: null, isDue: false, dueAt: null };
      this.#emit({ type: 'repaired', erasures: [], at: new Date().toISOString() });
    }
    this.#emit({ type: 'work-finished', trained: missing.size });
    return { trained: missing.size, superseded: 0, seconds: (performance.now() - start) / 1000 };
  }

  on(listener: (event: UnlearnerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(event: UnlearnerEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #wanted(): Wanted[] {
    return wantedStages(this.#orders, this.#revisions);
  }

  #shard(shard: number): ShardStatus {
    const wanted = this.#wanted().filter((stage) => stage.shard === shard);
    const sequences = this.#orders.map((order, sequence) => ({
      order,
      stages: order.map((slice, position) => {
        const { id } = wanted.find((stage) => stage.sequence === sequence && stage.position === position)!;
        const active = this.#active.has(id);
        const records = [...this.#records.values()].filter(
          (record) => record.shard === shard && record.slice === slice,
        ).length;
        return { position, slice, stage: id, weights: active ? digest(id) : null, active, records };
      }),
    }));
    const depths = sequences.map(({ stages }) => {
      const end = stages.findIndex((stage) => !stage.active);
      return end === -1 ? stages.length : end;
    });
    const servedDepth = Math.max(...depths);
    return {
      shard,
      servedDepth,
      servedSequence: servedDepth === 0 ? null : depths.indexOf(servedDepth),
      sequences,
    };
  }
}
