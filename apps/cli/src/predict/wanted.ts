import { UsageError } from '../errors.ts';

/** What a run takes. */
export interface Wanted {
  reads: 'image' | 'text';
  /** The fields of a row that its data's inputs come from; none where it has no rows. */
  fields: readonly string[];
  /** The field that names an image file, where it was asked for. */
  image?: string;
}

/** Where tables name image files, unless told otherwise. */
const PATH_FIELDS = ['image', 'path'];

/** Fields that may name an image file, the likeliest first, and those that an error asks for. */
export function imageFields({ fields, image }: Wanted): { tried: readonly string[]; asked: string } {
  if (image !== undefined) return { tried: [image], asked: image };
  const tried = [...new Set([...fields, ...PATH_FIELDS])];
  return { tried, asked: fields.length > 0 ? fields.join(', ') : PATH_FIELDS.join(' or ') };
}

/** @throws UsageError where a run reads something else */
export function refuseUnless(kind: Wanted['reads'], { reads }: Wanted, name: string): void {
  if (reads !== kind) throw new UsageError(`${name}: holds ${kind}s, but this run reads ${reads}s`);
}
