import type { Input } from '@s3t/unlearner';
import { Problem } from './problem.ts';
import type { ImageBody, InputBody } from './schemas.ts';

/** What a request's inputs mean to the run. Throws a 400 that names the field. */
export function inputsOf(bodies: readonly InputBody[]): Input[] {
  return bodies.map((body, index) => {
    if (typeof body === 'string' || Array.isArray(body)) return { text: body };
    if (body.text !== undefined) return { text: body.text };
    return { image: imageOf(body.image!, `inputs.${index}.image.pixels`) };
  });
}

function imageOf(image: ImageBody, path: string): ImageOf<Input> {
  const { width, height } = image;
  const pixels =
    typeof image.pixels === 'string' ? base64Bytes(image.pixels, path) : Uint8Array.from(image.pixels);
  const channels = image.channels ?? pixels.length / (width * height);
  if ((channels !== 1 && channels !== 3) || pixels.length !== width * height * channels) {
    const wanted = image.channels === undefined ? 'width * height * (1 or 3)' : 'width * height * channels';
    throw new Problem(400, 'invalid', `expected ${wanted} values`, { path });
  }
  return { width, height, channels, pixels };
}

type ImageOf<T> = T extends { image: infer I } ? I : never;

/** The bytes of a base64 text, or of a `data:` URL that holds one. Throws a 400 at `path`. */
export function base64Bytes(text: unknown, path: string): Uint8Array {
  let bytes: string;
  try {
    if (typeof text !== 'string') throw new TypeError();
    bytes = atob(text.replace(/^data:[^,]{0,100};base64,/, ''));
  } catch {
    throw new Problem(400, 'invalid', 'expected base64', { path });
  }
  return new Uint8Array(Buffer.from(bytes, 'latin1'));
}
