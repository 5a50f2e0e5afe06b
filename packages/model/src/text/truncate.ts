/** Which text loses tokens when a pair is too long: the longer one (as the tokenizers package decides it), or the first. */
export type Strategy = 'longest_first' | 'only_first';

/**
 * How many tokens of each text fit into `room`.
 * @param second null where there is one text only
 * @returns null when the first text is too short to lose what is too much
 */
export function truncate(
  first: number,
  second: number | null,
  room: number,
  strategy: Strategy,
): [first: number, second: number] | null {
  const excess = first + (second ?? 0) - room;
  if (excess <= 0) return [first, second ?? 0];
  if (second === null || room === 0) return [room, 0];
  // Not even a text that is lost altogether is enough.
  if (strategy === 'only_first') return first > excess ? [first - excess, second] : null;
  const shorter = Math.min(first, second);
  // The shorter one stays whole as long as it takes less than half; an odd token goes to the longer one.
  const kept = Math.min(shorter, Math.floor(room / 2));
  return first <= second ? [kept, room - kept] : [room - kept, kept];
}
