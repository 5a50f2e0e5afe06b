import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test('the log room imports nothing that a browser lacks', () => {
  const folder = new URL('.', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  expect(files).toContain('receipt-file.ts');
  const imports = files.flatMap((name) =>
    [...readFileSync(new URL(name, folder), 'utf8').matchAll(/ from '([^']+)'/g)].map(([, from]) => from!),
  );
  const outside = new Set(imports.filter((from) => !from.startsWith('./')));
  expect([...outside].sort()).toEqual(['@s3t/algorithm', 'valibot']);
});
