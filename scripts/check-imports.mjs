// The import direction: apps -> unlearner -> {model, ledger, data} -> {engine, algorithm} -> kernels.
// Reads the import statements of every source file and fails on one that points up, sideways or to an undeclared package.
import { globSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

const level = {
  '@s3t/kernels': 0,
  '@s3t/engine': 1,
  '@s3t/algorithm': 1,
  '@s3t/model': 2,
  '@s3t/ledger': 2,
  '@s3t/data': 2,
  '@s3t/unlearner': 3,
  '@s3t/dashboard': 3,
  '@s3t/laboratory': 4,
  '@s3t/server': 4,
  '@s3t/cli': 5,
  '@s3t/bench': 5,
  '@s3t/pretrain': 5,
};

const problems = [];
for (const manifest of globSync('{kernels,packages/*,apps/*,bench,tools/pretrain}/package.json')) {
  const folder = dirname(manifest);
  const { name, dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8'));
  if (!(name in level)) problems.push(`${manifest}: ${name} has no level in scripts/check-imports.mjs`);
  for (const file of globSync(`${folder}/{src,bin,scripts,test}/**/*.{ts,mjs}`)) {
    const text = readFileSync(file, 'utf8');
    for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*'([^'.][^']*)'/g)) {
      if (!specifier.startsWith('@s3t/')) continue;
      const target = specifier.split('/').slice(0, 2).join('/');
      if (target === name) continue;
      if (level[target] === undefined) problems.push(`${file}: unknown package ${target}`);
      else if (level[target] >= level[name]) problems.push(`${file}: ${name} may not import ${target}`);
      else if (!(target in dependencies) && !(target in devDependencies))
        problems.push(`${file}: ${target} is not a dependency of ${name}`);
    }
  }
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log('imports: every arrow points down');
