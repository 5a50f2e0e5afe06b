CREATE TABLE "notes" (
	"name" text PRIMARY KEY NOT NULL,
	"value" json NOT NULL
);
