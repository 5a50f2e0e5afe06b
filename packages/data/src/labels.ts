import { DataError, type DataPlace, quote } from './errors.ts';

/** The label as it is, if the configuration allows it. Nothing is guessed: "0" is not the first of ["cat", "dog"]. */
export function checkLabel(label: string, labels: readonly string[] | undefined, place: DataPlace): string {
  if (labels === undefined || labels.includes(label)) return label;
  throw new DataError(`label ${quote(label)} is not one of the configured labels: ${summary(labels)}`, place);
}

/** The name of class number `index` of a format that stores numbers only: `labels[index]`, or the number itself where there are no names. */
export function numberedLabel(
  index: number,
  labels: readonly string[] | undefined,
  place: DataPlace,
): string {
  if (labels === undefined) return String(index);
  const name = labels[index];
  if (name === undefined) {
    throw new DataError(`label ${index} has no name: only ${labels.length} labels are configured`, place);
  }
  return name;
}

function summary(labels: readonly string[]): string {
  const shown = labels.slice(0, 8).map(quote).join(', ');
  return labels.length > 8 ? `${shown}, … (${labels.length} in all)` : shown;
}
