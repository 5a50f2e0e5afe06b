import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('docs/operations.md is what `npm run docs -w packages/engine` writes', () => {
  const script = fileURLToPath(new URL('../scripts/operations.mjs', import.meta.url));
  const printed = execFileSync(process.execPath, ['--conditions=@s3t/source', script], { encoding: 'utf8' });
  expect(readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')).toBe(printed);
  expect(printed).toContain('| `add` | x + y, broadcast | f32 or f16, f32 or f16 | f32 or f16 | all |');
});
