/** Names come from the file: they may hold anything, at any length. An error is one line. */
export function oneLine(problem: string): string {
  const line = problem.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}
