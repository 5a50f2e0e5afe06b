import { Agent, type IncomingHttpHeaders, request } from 'node:http';

/** An answer, and when its last byte was here. */
export interface Answer<T> {
  status: number;
  headers: IncomingHttpHeaders;
  body: T;
  /** By `performance.now()`. */
  receivedAt: number;
}

const agent = new Agent({ keepAlive: true });

/**
 * Posts JSON. Node's own client and not `fetch`: its events come in the very turn in which the bytes are read, so that what was received before
 * what can be told.
 */
export function post<T>(url: string, body: unknown): Promise<Answer<T>> {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { method: 'POST', agent, headers: { 'content-type': 'application/json' } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const receivedAt = performance.now();
          const { statusCode: status = 0, headers } = response;
          try {
            resolve({ status, headers, receivedAt, body: JSON.parse(Buffer.concat(chunks).toString()) });
          } catch {
            reject(new Error(`${url} answered ${status} without JSON`));
          }
        });
      },
    );
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

/** Ends the connections that are kept open. */
export function hangUp(): void {
  agent.destroy();
}
