ALTER TABLE "erasures" ADD COLUMN "repaired_at" bigint;--> statement-breakpoint
ALTER TABLE "erasures" ADD COLUMN "repaired_seq" integer;--> statement-breakpoint
CREATE INDEX "erasures_unrepaired" ON "erasures" USING btree ("seq") WHERE "erasures"."repaired_at" is null;