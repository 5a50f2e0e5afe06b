import { resolve } from 'node:path';
import type { Input } from '@s3t/unlearner';
import { UsageError } from '../errors.ts';
import { decodeImages, type ImageFile } from './images.ts';
import type { NamedInput } from './input-files.ts';
import { imageFields, refuseUnless, type Wanted } from './wanted.ts';

interface Source {
  /** What errors call it. */
  name: string;
  /** What paths are relative to. */
  folder: string;
  wanted: Wanted;
}

type Row = Record<string, unknown>;

/**
 * Inputs from JSON Lines. A row is an input as `POST /v1/predict` takes it, `{"image": {"width", "height", "pixels"}}` with pixels as numbers or
 * base64, or `{"text": {...}}`; or it names an image file, or holds texts, in the fields that the run's data has them in. Its
 * `id`, if it has one, is repeated in the answer.
 */
export async function inputsOfRows(text: string, source: Source): Promise<NamedInput[]> {
  const found: (NamedInput | ImageFile)[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const place = `${source.name}, line ${index + 1}`;
    const row = parse(line, place);
    const id =
      typeof row.id === 'string' || typeof row.id === 'number'
        ? String(row.id)
        : `${source.name}:${index + 1}`;
    const input = inlineInput(row, place);
    if (input) refuseUnless('image' in input ? 'image' : 'text', source.wanted, place);
    if (input) found.push({ id, input });
    else if (source.wanted.reads === 'image') found.push({ id, path: pathIn(row, source, place), place });
    else found.push({ id, input: textsIn(row, source.wanted, place) });
  }
  const decoded = await decodeImages(found.filter((one): one is ImageFile => 'path' in one));
  let next = 0;
  return found.map((one) => ('path' in one ? decoded[next++]! : one));
}

function parse(line: string, place: string): Row {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new UsageError(`${place}: is not JSON; JSON Lines has one object per line`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
  throw new UsageError(`${place}: is not a JSON object`);
}

/** The input that a row holds itself, if it does. */
function inlineInput(row: Row, place: string): Input | undefined {
  if (typeof row.text === 'object' && row.text !== null)
    return { text: row.text as Record<string, string> | string[] };
  if (typeof row.image !== 'object' || row.image === null) return undefined;
  const { width, height, channels, pixels: given } = row.image as Row;
  if (!isSide(width) || !isSide(height))
    throw new UsageError(`${place}: image: width and height must be whole numbers`);
  const pixels = pixelsOf(given, `${place}: image.pixels`);
  const depth = channels ?? pixels.length / (width * height);
  if ((depth !== 1 && depth !== 3) || pixels.length !== width * height * depth) {
    throw new UsageError(
      `${place}: image.pixels: must hold width x height x channels (1 or 3) values, holds ${pixels.length}`,
    );
  }
  return { image: { width, height, channels: depth, pixels } };
}

const isSide = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

function pixelsOf(given: unknown, place: string): Uint8Array {
  if (typeof given === 'string') return Uint8Array.from(Buffer.from(given, 'base64'));
  const isByte = (value: unknown): boolean =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255;
  if (Array.isArray(given) && given.every(isByte)) return Uint8Array.from(given as number[]);
  throw new UsageError(`${place}: must be whole numbers from 0 to 255, or their base64`);
}

/** The image file that a row names. */
function pathIn(row: Row, { folder, wanted }: Source, place: string): string {
  const { tried, asked } = imageFields(wanted);
  const field = tried.find((name) => typeof row[name] === 'string');
  if (field === undefined) throw new UsageError(`${place}: no field ${asked} that names an image file`);
  return resolve(folder, row[field] as string);
}

/** The texts that the run reads; every field that is a text, but the id, where it does not say which. */
function textsIn({ id: _, ...row }: Row, { fields }: Wanted, place: string): Input {
  const names = fields.length > 0 ? fields : Object.keys(row).filter((name) => typeof row[name] === 'string');
  if (names.length === 0) throw new UsageError(`${place}: no field that is a text`);
  const absent = names.find((name) => typeof row[name] !== 'string');
  if (absent !== undefined) throw new UsageError(`${place}: no field ${absent} that is a text`);
  return { text: Object.fromEntries(names.map((name) => [name, row[name] as string])) };
}

/** One text a line. Blank lines are skipped. */
export function inputsOfLines(text: string, { name }: Pick<Source, 'name'>): NamedInput[] {
  return text
    .split(/\r?\n/)
    .map((line, index) => ({ id: `${name}:${index + 1}`, input: { text: line } }))
    .filter(({ input }) => input.text.trim() !== '');
}
