ALTER TABLE "erasures" ADD COLUMN "acknowledged_seq" integer;--> statement-breakpoint
ALTER TABLE "erasures" ADD COLUMN "statement" text;