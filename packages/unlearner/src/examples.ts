import type { DataRecord } from '@s3t/data';
import type { Example, Picture, TextInput } from '@s3t/model';
import type { RunConfig } from './config.ts';
import { UnlearnerError } from './errors.ts';
import { TASKS } from './tasks.ts';
import type { Input } from './types.ts';

/** What a record shows the model: its picture, or its text fields in the order of the configuration. */
export async function exampleOf(record: DataRecord, { task, data }: RunConfig): Promise<Example> {
  if (TASKS[task].reads === 'image') return { image: await record.image!() };
  const fields = data.text!.map((field) => record.text![field]!);
  if (TASKS[task].learns !== 'tokens') return { text: oneOrTwo(fields) };
  if (fields.length === 1) return { text: fields[0]! };
  return { prompt: promptOf(fields.slice(0, -1), data), response: fields.at(-1)! };
}

/** What an input shows the model; it may come from anywhere. @throws UnlearnerError `usage` naming the input's field */
export function exampleOfInput(input: Input, { task, data }: RunConfig, path: string): Example {
  if (TASKS[task].reads === 'image') return { image: pictureOf(input, path) };
  return { text: oneOrTwo(textsOf(input, data.text!, path)) };
}

/**
 * The prompt of an input for a language model: a text, or the fields of a record but for its response.
 * @throws UnlearnerError `usage` naming the input's field
 */
export function promptOfInput(input: string | Input, { data }: RunConfig): string {
  const fields = data.text!.length === 1 ? data.text! : data.text!.slice(0, -1);
  if (typeof input !== 'string') return promptOf(textsOf(input, fields, 'input'), data);
  return fields.length === 1 ? promptOf([input], data) : input;
}

/** The values of the text fields: by name, or in the order of the configuration. */
function textsOf(input: Input, fields: readonly string[], path: string): string[] {
  const fail = (at: string, problem: string): never => {
    throw new UnlearnerError('usage', `${path}${at}: ${problem}`);
  };
  const wanted = fields.join(', ');
  if (typeof input !== 'object' || input === null || !('text' in input))
    return fail('', `this run answers texts: ${wanted}`);
  const text: unknown = input.text;
  if (typeof text === 'string' || Array.isArray(text)) {
    const texts: unknown[] = typeof text === 'string' ? [text] : text;
    if (texts.length !== fields.length)
      return fail('.text', `has ${texts.length} texts, but this run reads ${fields.length}: ${wanted}`);
    return texts.map((value, i) =>
      typeof value === 'string' ? value : fail(`.text.${i}`, 'must be a text'),
    );
  }
  if (typeof text !== 'object' || text === null) return fail('.text', `must hold ${wanted}`);
  return fields.map((field) => {
    const value: unknown = Object.hasOwn(text, field) ? text[field as keyof typeof text] : undefined;
    return typeof value === 'string' ? value : fail(`.text.${field}`, 'must be a text');
  });
}

function oneOrTwo([first, second]: readonly string[]): TextInput {
  return second === undefined ? first! : [first!, second];
}

/** The words round an instruction, and perhaps its input, of the Alpaca data (Taori et al. 2023). */
function promptOf([instruction, input]: readonly string[], { format }: RunConfig['data']): string {
  if (format !== 'alpaca') return instruction!;
  const hasInput = input !== undefined && input !== '';
  const given = hasInput ? ', paired with an input that provides further context' : '';
  return [
    `Below is an instruction that describes a task${given}. Write a response that appropriately completes the request.`,
    `### Instruction:\n${instruction}`,
    ...(hasInput ? [`### Input:\n${input}`] : []),
    '### Response:\n',
  ].join('\n\n');
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
