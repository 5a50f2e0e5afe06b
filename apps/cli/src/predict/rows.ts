import { resolve } from 'node:path';
import type { Input } from '@s3t/unlearner';
import { CommandError } from '../errors.ts';
import { decodeImages, type ImageFile } from './images.ts';
import type { NamedInput } from './input-files.ts';

interface Source {
  /** What errors call it. */
  name: string;
  /** What paths are relative to. */
  folder: string;
  /** Fields that may name an image file, the likeliest first. */
  fields: readonly string[];
}

type Row = Record<string, unknown>;

/**
 * Inputs from JSON Lines. A row is an input as `POST /v1/predict` takes it, `{"image": {"width", "height", "pixels"}}` with pixels as numbers or
 * base64, or `{"text": {...}}`; or it names an image file; or its fields are texts, of which the run takes those that it reads. Its
 * `id`, if it has one, is repeated in the answer.
 */
export async function inputsOfRows(text: string, source: Source): Promise<NamedInput[]> {
  const found: (NamedInput | ImageFile)[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const place = `${source.name}: line ${index + 1}`;
    const row = parse(line, place);
    const id =
      typeof row.id === 'string' || typeof row.id === 'number'
        ? String(row.id)
        : `${source.name}:${index + 1}`;
    const path = pathIn(row, source);
    const input = inlineInput(row, place) ?? (path === undefined ? textsIn(row, source, place) : undefined);
    found.push(input ? { id, input } : { id, path: path!, place });
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
    throw new CommandError(`${place}: is not JSON; JSON Lines has one object per line`);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Row;
  throw new CommandError(`${place}: is not a JSON object`);
}

/** The input that a row holds itself, if it does. */
function inlineInput(row: Row, place: string): Input | undefined {
  if (typeof row.text === 'object' && row.text !== null)
    return { text: row.text as Record<string, string> | string[] };
  if (typeof row.image !== 'object' || row.image === null) return undefined;
  const { width, height, channels, pixels: given } = row.image as Row;
  if (!isSide(width) || !isSide(height))
    throw new CommandError(`${place}: image: width and height must be whole numbers`);
  const pixels = pixelsOf(given, `${place}: image.pixels`);
  const depth = channels ?? pixels.length / (width * height);
  if ((depth !== 1 && depth !== 3) || pixels.length !== width * height * depth) {
    throw new CommandError(
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
  throw new CommandError(`${place}: must be whole numbers from 0 to 255, or their base64`);
}

function pathIn(row: Row, { folder, fields }: Source): string | undefined {
  const field = fields.find((name) => typeof row[name] === 'string');
  return field === undefined ? undefined : resolve(folder, row[field] as string);
}

/** Every field that is a text, but the id: which of them it reads, the run knows. */
function textsIn({ id: _, ...row }: Row, { fields }: Source, place: string): Input {
  const texts = Object.entries(row).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  if (texts.length > 0) return { text: Object.fromEntries(texts) };
  throw new CommandError(
    `${place}: ${fields.join(' or ')}: is missing; it names an image file (for texts: the fields that the run reads)`,
  );
}

/** One text a line. Blank lines are skipped. */
export function inputsOfLines(text: string, { name }: Pick<Source, 'name'>): NamedInput[] {
  return text
    .split(/\r?\n/)
    .map((line, index) => ({ id: `${name}:${index + 1}`, input: { text: line } }))
    .filter(({ input }) => input.text.trim() !== '');
}
