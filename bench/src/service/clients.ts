import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import type { Receipt } from '@s3t/unlearner';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Node's own client: a fetch costs a core that the server needs several times as much. */
export class Http {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(url: string) {
    this.#url = url;
  }

  post(path: string, body: string): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
      const sent = request(this.#url + path, { method: 'POST', agent: this.#agent, headers }, (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', reject);
        answer.on('end', () =>
          resolve({
            status: answer.statusCode!,
            headers: answer.headers,
            text: Buffer.concat(parts).toString(),
          }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** @throws Error where it is not erased */
  async erase(record: string): Promise<Receipt> {
    const { status, text } = await this.post('/v1/erasures', JSON.stringify({ records: [record] }));
    if (status !== 201) throw new Error(`an erasure was answered ${status}: ${text}`);
    return JSON.parse(text) as Receipt;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Clients that ask one question after the other until they are told to stop. */
export class Crowd {
  answers = 0;
  /** 503: nothing was served. */
  unserved = 0;
  /** Answers that an erasure cut off on their way: they are asked for again. */
  cut = 0;
  #isStopped = false;
  readonly #clients: Promise<unknown>;

  /** @param onAnswer told of every answer, and of what `onAsk` gave when it was asked for */
  constructor(
    http: Http,
    size: number,
    bodies: readonly string[],
    {
      onAsk = () => 0,
      onAnswer = () => {},
    }: { onAsk?: () => number; onAnswer?: (answer: HttpAnswer, asked: number) => void } = {},
  ) {
    const client = async (number: number): Promise<void> => {
      for (let turn = number; !this.#isStopped; turn++) {
        const asked = onAsk();
        const answer = await http.post('/v1/predict', bodies[turn % bodies.length]!).catch((error) => {
          if (error.code !== 'ECONNRESET') throw error;
          return null;
        });
        if (answer === null) {
          this.cut++;
        } else if (answer.status === 200) {
          this.answers++;
          onAnswer(answer, asked);
        } else if (answer.status === 503) {
          this.unserved++;
          await new Promise((resolve) => setTimeout(resolve, 50));
        } else {
          throw new Error(`a prediction was answered ${answer.status}: ${answer.text}`);
        }
      }
    };
    this.#clients = Promise.all(Array.from({ length: size }, (_, number) => client(number)));
    this.#clients.catch(() => {});
  }

  /** Resolves when there are so many answers in all, or when a client failed. */
  async until(answers: number): Promise<void> {
    while (this.answers < answers) await Promise.race([pause(2), this.#clients]);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#clients;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
