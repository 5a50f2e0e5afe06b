import { defineConfig } from 'drizzle-kit';

// `npx drizzle-kit generate` here after a change of src/schema.ts; commit what it writes.
export default defineConfig({ dialect: 'postgresql', schema: './src/schema.ts', out: './migrations' });
