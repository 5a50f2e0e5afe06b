ALTER TABLE "records" ADD COLUMN "subject" "bytea";--> statement-breakpoint
CREATE INDEX "records_subject" ON "records" USING btree ("subject") WHERE "records"."subject" is not null;