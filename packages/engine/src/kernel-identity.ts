import { sources } from '@s3t/kernels';

/**
 * What a stage's bytes depend on besides its data and configuration: the text of every kernel, in order of name, and a
 * number that is raised whenever a change of TypeScript (a kernel choice, the order of operations of a gradient rule, the
 * tokens of a text) changes the bits of a result. Hash it into whatever names those bytes.
 */
export function kernelIdentity(): string {
  const names = Object.keys(sources).sort();
  return JSON.stringify({ revision: REVISION, kernels: names.map((name) => [name, sources[name]]) });
}

const REVISION = 5;
