// One schema for PGlite and PostgreSQL. Hex digests live as bytea: half the size of text, and a million records have two each.
// No foreign keys: drizzle qualifies them with "public", and a run may live in a schema of its own.
import { sql } from 'drizzle-orm';
import { bigint, customType, index, integer, json, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';

/** Lower-case hex in JavaScript, raw bytes in the database. */
const hex = customType<{ data: string; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  toDriver: (value) => Buffer.from(value, 'hex'),
  fromDriver: (value) => Buffer.from(value).toString('hex'),
});

/** Milliseconds since 1970. */
const time = (name: string) => bigint(name, { mode: 'number' });

/** One row: the run. Every writing transaction locks it first, which puts them in one order. */
export const run = pgTable('run', {
  one: integer('one').primaryKey(),
  id: text('id').notNull(),
  config: json('config').notNull(),
  setting: text('setting').notNull(),
  settingDigest: text('setting_digest').notNull(),
  shards: integer('shards').notNull(),
  slices: integer('slices').notNull(),
  sequences: json('sequences').$type<number[][]>().notNull(),
  base: text('base').notNull(),
  /** Secret: commitments to erased records are HMACs under it. */
  salt: hex('salt').notNull(),
  createdAt: time('created_at').notNull(),
});

export const records = pgTable(
  'records',
  {
    key: hex('key').primaryKey(),
    digest: hex('digest').notNull(),
    shard: integer('shard').notNull(),
    slice: integer('slice').notNull(),
    /** Whom the record is about, as an HMAC under the run's salt; null for nobody. */
    subject: hex('subject'),
  },
  (table) => [
    index('records_slice').on(table.shard, table.slice),
    index('records_subject').on(table.subject).where(sql`${table.subject} is not null`),
  ],
);

/** `revision` counts the erasures that touched the slice: a training planned at an older one is never published. */
export const slices = pgTable(
  'slices',
  {
    shard: integer('shard').notNull(),
    slice: integer('slice').notNull(),
    revision: integer('revision').notNull(),
    records: integer('records').notNull(),
  },
  (table) => [primaryKey({ columns: [table.shard, table.slice] })],
);

export const erased = pgTable('erased', {
  commitment: hex('commitment').primaryKey(),
  erasure: text('erasure').notNull(),
});

/** Keyed by shard too: ids depend on content alone, so two shards whose slices are both empty share ids. */
export const stages = pgTable(
  'stages',
  {
    id: text('id').notNull(),
    shard: integer('shard').notNull(),
    position: integer('position').notNull(),
    slices: integer('slices').array().notNull(),
    sequences: integer('sequences').array().notNull(),
    parent: text('parent'),
    lineage: json('lineage').notNull(),
    weights: text('weights').notNull(),
    records: integer('records').notNull(),
    state: text('state').$type<'active' | 'deactivated' | 'destroyed'>().notNull(),
    erasure: text('erasure'),
    publishedAt: time('published_at').notNull(),
    deactivatedAt: time('deactivated_at'),
    destroyedAt: time('destroyed_at'),
  },
  (table) => [
    primaryKey({ columns: [table.shard, table.id] }),
    index('stages_state').on(table.state),
    index('stages_erasure').on(table.erasure),
    index('stages_id').on(table.id),
  ],
);

export const versions = pgTable('versions', {
  version: integer('version').primaryKey(),
  digest: text('digest').notNull(),
  manifest: json('manifest').notNull(),
  reason: text('reason').notNull(),
  at: time('at').notNull(),
});

export const erasures = pgTable(
  'erasures',
  {
    id: text('id').primaryKey(),
    seq: integer('seq').notNull(),
    idempotencyKey: text('idempotency_key').unique(),
    requestDigest: text('request_digest').notNull(),
    records: integer('records').notNull(),
    state: text('state').$type<'in_progress' | 'completed'>().notNull(),
    receivedAt: time('received_at').notNull(),
    committedAt: time('committed_at').notNull(),
    acknowledgedAt: time('acknowledged_at'),
    destroyedAt: time('destroyed_at'),
    /** What erase() answered, so that a repeated request gets the same answer. */
    result: json('result').notNull(),
    receipt: json('receipt'),
    /** The entry of its acknowledgement, and the statement which that names by its digest; null for erasures from before there were any. */
    acknowledgedSeq: integer('acknowledged_seq'),
    statement: text('statement'),
    /** When every stage that it had cost was trained again, and the entry that says so; null until then. */
    repairedAt: time('repaired_at'),
    repairedSeq: integer('repaired_seq'),
  },
  (table) => [index('erasures_unrepaired').on(table.seq).where(sql`${table.repairedAt} is null`)],
);

/** The hash-chained log. `payload` is json, not jsonb: it keeps the text it was given. */
export const entries = pgTable('entries', {
  seq: integer('seq').primaryKey(),
  kind: text('kind').notNull(),
  at: time('at').notNull(),
  payload: json('payload').notNull(),
  previous: text('previous').notNull(),
  hash: text('hash').notNull(),
});

/** What a service must remember over a restart and nobody has to prove: no part of the log. */
export const notes = pgTable('notes', {
  name: text('name').primaryKey(),
  value: json('value').notNull(),
});
