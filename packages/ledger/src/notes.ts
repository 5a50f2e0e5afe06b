import { eq, like } from 'drizzle-orm';
import type { Db } from './database.ts';
import { notes } from './schema.ts';

/** Keeps a value under a name, in the place of an older one; null takes it away. */
export async function setNote(db: Db, name: string, value: unknown): Promise<void> {
  if (value === null) await db.delete(notes).where(eq(notes.name, name));
  else
    await db.insert(notes).values({ name, value }).onConflictDoUpdate({ target: notes.name, set: { value } });
}

/** Values by name, of the names that begin so. */
export async function readNotes(db: Db, prefix: string): Promise<Map<string, unknown>> {
  const pattern = `${prefix.replace(/[\\%_]/g, '\\$&')}%`;
  const rows = await db.select().from(notes).where(like(notes.name, pattern)).orderBy(notes.name);
  return new Map(rows.map(({ name, value }) => [name, value]));
}
