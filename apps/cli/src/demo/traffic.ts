import { setTimeout as sleep } from 'node:timers/promises';
import type { MnistDigit } from '@s3t/data';
import type { LabelScore } from '@s3t/unlearner';
import { type Answer, post } from './http.ts';

/** How the server is asked. */
export interface Pace {
  clients: number;
  digitsPerRequest: number;
  pauseMs: number;
}

/** One answer of the server, as far as it matters here. */
export interface Answered {
  receivedAt: number;
  version: number;
  manifest: string;
  digits: number;
  right: number;
}

interface PredictBody {
  version: number;
  manifest: string;
  answers: readonly (readonly LabelScore[])[];
}

/** Clients that send the server one real request after the other and remember every answer. */
export class Traffic {
  readonly answers: Answered[] = [];
  readonly #url: string;
  readonly #digits: readonly MnistDigit[];
  readonly #onManifest: (manifest: string) => void;
  readonly #clients: Promise<void>[] = [];
  #next = 0;
  #stopped = false;

  /** @param onManifest is told of every manifest that has not answered before */
  constructor(url: string, digits: readonly MnistDigit[], onManifest: (manifest: string) => void) {
    this.#url = url;
    this.#digits = digits;
    this.#onManifest = onManifest;
  }

  start(pace: Pace): void {
    this.#stopped = false;
    for (let i = 0; i < pace.clients; i++) this.#clients.push(this.#run(pace));
  }

  /** Resolves when all requests under way are answered. Rejects if one failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients.splice(0));
  }

  async #run({ digitsPerRequest, pauseMs }: Pace): Promise<void> {
    const seen = new Set(this.answers.map(({ manifest }) => manifest));
    while (!this.#stopped) {
      const digits = Array.from(
        { length: digitsPerRequest },
        () => this.#digits[this.#next++ % this.#digits.length]!,
      );
      const answered = await ask(this.#url, digits);
      this.answers.push(answered);
      if (!seen.has(answered.manifest)) this.#onManifest(answered.manifest);
      seen.add(answered.manifest);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  }
}

/** Asks for all digits, in requests of the size servers take, and returns the share that is answered right. */
export async function measure(url: string, digits: readonly MnistDigit[]): Promise<number> {
  let right = 0;
  for (let at = 0; at < digits.length; at += 64) right += (await ask(url, digits.slice(at, at + 64))).right;
  return right / digits.length;
}

async function ask(url: string, digits: readonly MnistDigit[]): Promise<Answered> {
  const inputs = digits.map(({ pixels }) => ({
    image: { width: 28, height: 28, channels: 1, pixels: Buffer.from(pixels).toString('base64') },
  }));
  const { body, headers, receivedAt } = await patiently(() =>
    post<PredictBody>(`${url}/v1/predict`, { inputs, top: 1 }),
  );
  const { version, manifest, answers } = body;
  if (headers['x-s3t-manifest'] !== manifest || Number(headers['x-s3t-version']) !== version) {
    throw new Error('an answer names one ensemble in its headers and another in its body');
  }
  const right = answers.filter(([best], i) => best!.label === String(digits[i]!.label)).length;
  return { receivedAt, version, manifest, digits: digits.length, right };
}

/** A full queue is asked again; anything else that is no answer ends the demo. */
async function patiently(request: () => Promise<Answer<PredictBody>>): Promise<Answer<PredictBody>> {
  for (;;) {
    const answer = await request();
    if (answer.status === 200) return answer;
    if (answer.status !== 429)
      throw new Error(`the server answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    await sleep(200);
  }
}
