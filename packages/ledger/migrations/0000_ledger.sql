CREATE TABLE "entries" (
	"seq" integer PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"at" bigint NOT NULL,
	"payload" json NOT NULL,
	"previous" text NOT NULL,
	"hash" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "erased" (
	"commitment" "bytea" PRIMARY KEY NOT NULL,
	"erasure" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "erasures" (
	"id" text PRIMARY KEY NOT NULL,
	"seq" integer NOT NULL,
	"idempotency_key" text,
	"request_digest" text NOT NULL,
	"records" integer NOT NULL,
	"state" text NOT NULL,
	"received_at" bigint NOT NULL,
	"committed_at" bigint NOT NULL,
	"acknowledged_at" bigint,
	"destroyed_at" bigint,
	"result" json NOT NULL,
	"receipt" json,
	CONSTRAINT "erasures_idempotency_key_unique" UNIQUE("idempotency_key")
);
--> statement-breakpoint
CREATE TABLE "records" (
	"key" "bytea" PRIMARY KEY NOT NULL,
	"digest" "bytea" NOT NULL,
	"shard" integer NOT NULL,
	"slice" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "run" (
	"one" integer PRIMARY KEY NOT NULL,
	"id" text NOT NULL,
	"config" json NOT NULL,
	"setting" text NOT NULL,
	"setting_digest" text NOT NULL,
	"shards" integer NOT NULL,
	"slices" integer NOT NULL,
	"sequences" json NOT NULL,
	"base" text NOT NULL,
	"salt" "bytea" NOT NULL,
	"created_at" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "slices" (
	"shard" integer NOT NULL,
	"slice" integer NOT NULL,
	"revision" integer NOT NULL,
	"records" integer NOT NULL,
	CONSTRAINT "slices_shard_slice_pk" PRIMARY KEY("shard","slice")
);
--> statement-breakpoint
CREATE TABLE "stages" (
	"id" text NOT NULL,
	"shard" integer NOT NULL,
	"position" integer NOT NULL,
	"slices" integer[] NOT NULL,
	"sequences" integer[] NOT NULL,
	"parent" text,
	"lineage" json NOT NULL,
	"weights" text NOT NULL,
	"records" integer NOT NULL,
	"state" text NOT NULL,
	"erasure" text,
	"published_at" bigint NOT NULL,
	"deactivated_at" bigint,
	"destroyed_at" bigint,
	CONSTRAINT "stages_shard_id_pk" PRIMARY KEY("shard","id")
);
--> statement-breakpoint
CREATE TABLE "versions" (
	"version" integer PRIMARY KEY NOT NULL,
	"digest" text NOT NULL,
	"manifest" json NOT NULL,
	"reason" text NOT NULL,
	"at" bigint NOT NULL
);
--> statement-breakpoint
CREATE INDEX "records_slice" ON "records" USING btree ("shard","slice");--> statement-breakpoint
CREATE INDEX "stages_state" ON "stages" USING btree ("state");--> statement-breakpoint
CREATE INDEX "stages_erasure" ON "stages" USING btree ("erasure");--> statement-breakpoint
CREATE INDEX "stages_id" ON "stages" USING btree ("id");