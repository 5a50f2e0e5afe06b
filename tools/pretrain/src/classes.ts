/**
 * The label set. As EMNIST's "balanced" split does, a small letter that looks like its capital shares its class; and as our images
 * are normalised in size and scanned without context, O is 0, and a bare I or l is 1.
 */
const groups: readonly string[] = [
  ...['0Oo', '1Il', '2', '3', '4', '5', '6', '7', '8', '9'],
  ...['A', 'B', 'Cc', 'D', 'E', 'F', 'G', 'H', 'Jj', 'Kk', 'L', 'Mm', 'N', 'Pp', 'Q', 'R', 'Ss'],
  ...['T', 'Uu', 'Vv', 'Ww', 'Xx', 'Yy', 'Zz'],
  ...['a', 'b', 'd', 'e', 'f', 'g', 'h', 'i', 'n', 'q', 'r', 't'],
];

/** A class is named by its first character. The first ten are the digits. */
export const classes: readonly string[] = groups.map((group) => group[0]!);

/** The characters a class is drawn as. */
export function charactersOf(name: string): readonly string[] {
  const group = groups.find((each) => each[0] === name);
  if (!group) throw new RangeError(`unknown class ${JSON.stringify(name)}; one of ${classes.join(' ')}`);
  return [...group];
}
