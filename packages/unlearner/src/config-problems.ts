// What is wrong with a configuration, in words for whoever wrote it.

import type * as v from 'valibot';

/** @param fieldsAt the fields that may stand beside the one at a path */
export function explain(
  issue: v.BaseIssue<unknown>,
  path: string,
  fieldsAt: (path: string) => string[],
): string {
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const known = fieldsAt(path);
    const guess = known.find((name) => distance(name, path.split('.').at(-1)!) <= 2);
    return guess
      ? `there is no such field; did you mean ${guess}?`
      : `there is no such field; there are ${known.join(', ')}`;
  }
  if (issue.received === 'undefined') return 'is missing';
  // valibot's own messages say "Invalid type: Expected number but received ..."; ours say what is wanted.
  return issue.message.startsWith('Invalid')
    ? `must be ${issue.expected}, not ${issue.received}`
    : issue.message;
}

/** Edit distance (Levenshtein 1966). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
