// The Open Inference Protocol (V2) as KServe and Triton speak it: tensors in and out of JSON.
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
import type { Input } from '@s3t/unlearner';
import * as v from 'valibot';
import type { Answer } from './batcher.ts';
import { type ImageFiles, plainInputs, type RequestInputs } from './image-files.ts';
import { base64Bytes } from './inputs.ts';
import { Problem } from './problem.ts';
import { MOST_OF_TEXT } from './text-limits.ts';

/** A tensor's values, flat or nested. They are looked at one by one where they are used: there may be millions. */
export const tensorData: v.GenericSchema<unknown[]> = v.custom<unknown[]>(Array.isArray, 'expected a list');

const name = v.pipe(v.string(), v.maxLength(255));
const parameters = v.optional(v.record(v.string(), v.unknown()));
const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000));

const imageTensor = v.strictObject({
  name: v.pipe(v.literal('image'), v.description('The one input there is.')),
  shape: v.pipe(
    v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(8192))),
    v.minLength(1),
    v.maxLength(4),
    v.description('UINT8: [images, height, width, channels], 1 or 3 channels. BYTES: [images].'),
  ),
  datatype: v.pipe(
    v.picklist(['UINT8', 'BYTES']),
    v.description('UINT8: pixels, row by row, channels last. BYTES: PNG, JPEG, GIF or WebP files as base64.'),
  ),
  parameters,
  data: tensorData,
});
const textTensor = v.strictObject({
  name: v.pipe(v.literal('text'), v.description('The one input there is.')),
  shape: v.pipe(
    v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(8192))),
    v.minLength(1),
    v.maxLength(2),
    v.description('[texts], or [texts, fields] where a run reads pairs.'),
  ),
  datatype: v.literal('BYTES'),
  parameters,
  data: tensorData,
});
/** The one input. */
export interface InputTensor {
  name: 'image' | 'text';
  shape: number[];
  datatype: 'UINT8' | 'BYTES';
  parameters?: Record<string, unknown> | undefined;
  data: unknown[];
}

const outputRequest = v.strictObject({
  name: v.picklist(['scores', 'label']),
  parameters: v.optional(
    v.pipe(
      v.looseObject({ classification: v.optional(count) }),
      v.description('classification: of the scores only the best so many, as "score:index:label".'),
    ),
  ),
});

/** One of the tensors that are given. */
export interface OutputRequest {
  name: 'scores' | 'label';
  parameters?: { classification?: number | undefined } | undefined;
}

export interface InferBody {
  id?: string | undefined;
  parameters?: Record<string, unknown> | undefined;
  inputs: InputTensor[];
  /** Default: all there are. */
  outputs?: OutputRequest[] | undefined;
}
/** @param reads what an input of the run is */
export function inferSchema(reads: 'image' | 'text'): v.GenericSchema<InferBody> {
  const tensor: v.GenericSchema<InputTensor> = reads === 'image' ? imageTensor : textTensor;
  return v.strictObject({
    id: v.optional(name),
    parameters,
    inputs: v.pipe(v.array(tensor), v.length(1)),
    outputs: v.optional(v.pipe(v.array(outputRequest), v.minLength(1), v.maxLength(8))),
  });
}

const tensorInfo = v.object({ name: v.string(), datatype: v.string(), shape: v.array(v.number()) });
export const inferResponseSchema: v.GenericSchema<unknown> = v.object({
  model_name: v.string(),
  model_version: v.string(),
  id: v.optional(v.string()),
  outputs: v.array(v.object({ ...tensorInfo.entries, data: v.array(v.union([v.number(), v.string()])) })),
});
export const modelMetadataSchema: v.GenericSchema<unknown> = v.object({
  name: v.string(),
  versions: v.array(v.string()),
  platform: v.string(),
  inputs: v.array(tensorInfo),
  outputs: v.array(tensorInfo),
  parameters: v.object({ labels: v.pipe(v.array(v.string()), v.description('In the order of the scores.')) }),
});

/** What the model takes and gives; -1 is any size. */
export function modelMetadata(
  model: string,
  version: number,
  { labels, reads }: { labels: readonly string[]; reads: 'image' | 'text' },
): object {
  const image = { name: 'image', datatype: 'UINT8', shape: [-1, -1, -1, -1] };
  const text = { name: 'text', datatype: 'BYTES', shape: [-1, -1] };
  return {
    ...{ name: model, versions: [String(version)], platform: 's3t' },
    inputs: [reads === 'image' ? image : text],
    outputs: [
      { name: 'scores', datatype: 'FP32', shape: [-1, labels.length] },
      { name: 'label', datatype: 'BYTES', shape: [-1] },
    ],
    parameters: { labels },
  };
}

/** The inputs that a tensor holds. Throws a 400 that names the field, or 413 for more than `most`. */
export async function inputsOfTensor(
  tensor: InputTensor,
  most: number,
  images: ImageFiles,
  gone: AbortSignal,
): Promise<RequestInputs> {
  const { name, shape } = tensor;
  if (shape[0]! > most)
    throw new Problem(413, 'too-many', `at most ${most} ${name}s`, { path: 'inputs.0.shape' });
  return name === 'text' ? plainInputs(textsOf(tensor)) : imagesOf(tensor, images, gone);
}

function textsOf({ shape, data }: InputTensor): Input[] {
  const [count = 0, fields = 1] = shape;
  const texts = data.flat(1) as unknown[];
  if (texts.length !== count * fields) throw refusal('data', 'expected as many texts as the shape says');
  if (!texts.every((each) => typeof each === 'string')) throw refusal('data', 'expected texts');
  const long = texts.findIndex((each) => each.length > MOST_OF_TEXT);
  if (long !== -1) throw refusal(`data.${long}`, `expected at most ${MOST_OF_TEXT} characters`);
  return Array.from({ length: count }, (_, row) => ({
    text: texts.slice(row * fields, (row + 1) * fields) as string[],
  }));
}

async function imagesOf(
  { shape, datatype, data }: InputTensor,
  decoder: ImageFiles,
  gone: AbortSignal,
): Promise<RequestInputs> {
  const [images = 0, height = 0, width = 0, channels = 0] = shape;
  if (datatype === 'BYTES') {
    if (shape.length !== 1) throw refusal('shape', 'expected [images]');
    const files = data.flat(1) as unknown[];
    if (files.length !== images) throw refusal('data', 'expected as many files as the shape says');
    const pathOf = (index: number): string => `inputs.0.data.${index}`;
    return decoder.decode(
      files.map((file, index) => base64Bytes(file, pathOf(index))),
      pathOf,
      gone,
    );
  }
  if (shape.length !== 4 || (channels !== 1 && channels !== 3))
    throw refusal('shape', 'expected [images, height, width, 1 or 3]');
  const size = height * width * channels;
  const bytes = bytesOf(data, images * size);
  const inputs = Array.from(
    { length: images },
    (_, index): Input => ({
      image: { width, height, channels, pixels: bytes.subarray(index * size, (index + 1) * size) },
    }),
  );
  return plainInputs(inputs);
}

/** The tensors that were asked for. Scores stand in the order of the labels. */
export function outputsOf(
  { answers }: Answer,
  labels: readonly string[],
  asked: InferBody['outputs'] = [{ name: 'scores' }, { name: 'label' }],
): object[] {
  const places = new Map(labels.map((label, index) => [label, index]));
  return asked.map(({ name, parameters }) => {
    if (name === 'label') {
      return {
        name,
        datatype: 'BYTES',
        shape: [answers.length],
        data: answers.map((scores) => scores[0]!.label),
      };
    }
    const best = parameters?.classification;
    if (best !== undefined) {
      const each = Math.min(best, labels.length);
      const data = answers.flatMap((scores) =>
        scores.slice(0, each).map(({ label, score }) => `${score}:${places.get(label)}:${label}`),
      );
      return { name, datatype: 'BYTES', shape: [answers.length, each], data };
    }
    const data = answers.flatMap((scores) => {
      const row = new Array<number>(labels.length).fill(0);
      for (const { label, score } of scores) row[places.get(label)!] = score;
      return row;
    });
    return { name, datatype: 'FP32', shape: [answers.length, labels.length], data };
  });
}

/** Exactly `size` bytes, from lists nested however deep: row-major order is the order in which they are met. */
function bytesOf(data: readonly unknown[], size: number): Uint8Array {
  // A body holds no more numbers than it has bytes; what claims more is not worth the memory.
  if (data.length > size) throw refusal('data', 'expected as many values as the shape says');
  const bytes = new Uint8Array(size);
  let at = 0;
  const take = (list: readonly unknown[], depth: number): void => {
    for (const value of list) {
      if (Array.isArray(value) && depth < 4) take(value, depth + 1);
      else if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 255)
        throw refusal('data', 'expected integers from 0 to 255');
      else if (at === size) throw refusal('data', 'expected as many values as the shape says');
      else bytes[at++] = value as number;
    }
  };
  take(data, 1);
  if (at !== size) throw refusal('data', 'expected as many values as the shape says');
  return bytes;
}

function refusal(field: string, message: string): Problem {
  return new Problem(400, 'invalid', message, { path: `inputs.0.${field}` });
}
