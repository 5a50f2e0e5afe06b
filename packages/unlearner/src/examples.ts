import type { DataRecord } from '@s3t/data';
import type { Example, Picture } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import type { Input } from './types.ts';

/** What a record shows the model: its picture, or its text fields in the order of the configuration. */
export async function exampleOf(record: DataRecord, { task, data }: RunConfig): Promise<Example> {
  if (task === 'image-classification') return { image: await record.image!() };
  return { text: textsOf(data, (field) => record.text![field]!) };
}

/** What an input shows the model; it may come from anywhere. @throws UnlearnerError `usage` naming the input's field */
export function exampleOfInput(input: Input, { task, data }: RunConfig, path: string): Example {
  if (task === 'image-classification') return { image: pictureOf(input, path) };
  const text: unknown = (input as { text?: unknown } | null)?.text;
  if (typeof text !== 'object' || text === null)
    throw new UnlearnerError('usage', `${path}: this run answers texts: ${data.text!.join(', ')}`);
  return {
    text: textsOf(data, (field) => {
      const value: unknown = Object.hasOwn(text, field) ? text[field as keyof typeof text] : undefined;
      if (typeof value !== 'string')
        throw new UnlearnerError('usage', `${path}.text.${field}: must be a text`);
      return value;
    }),
  };
}

function textsOf(
  { text: fields }: RunConfig['data'],
  read: (field: string) => string,
): string | [string, string] {
  const [first, second] = fields!;
  return second === undefined ? read(first!) : [read(first!), read(second)];
}

function pictureOf(input: Input, path: string): Picture {
  const fail = (at: string, problem: string): never => {
    throw new UnlearnerError('usage', `${path}${at}: ${problem}`);
  };
  if (typeof input !== 'object' || input === null || !('image' in input))
    return fail('', 'this run answers images');
  const { image } = input;
  if (typeof image !== 'object' || image === null) return fail('.image', 'must be a picture');
  const { width, height, channels, pixels } = image;
  for (const [side, extent] of Object.entries({ width, height }))
    if (!Number.isSafeInteger(extent) || extent < 1)
      fail(`.image.${side}`, 'must be a whole number above zero');
  if (channels !== 1 && channels !== 3) fail('.image.channels', 'must be 1 or 3');
  if (!(pixels instanceof Uint8Array)) fail('.image.pixels', 'must be a Uint8Array');
  if (pixels.length !== width * height * channels)
    fail(
      '.image.pixels',
      `holds ${pixels.length} bytes, but ${width} x ${height} pixels of ${channels} channels have ${width * height * channels}`,
    );
  return image;
}
