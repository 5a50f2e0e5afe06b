import type { Problem } from './problem.ts';

/** The body of an error, as clients of the API that a path belongs to read it. */
export function errorBody(path: string, problem: Problem): object {
  const { message, code, status, path: field } = problem;
  const line = field === undefined ? message : `${field}: ${message}`;
  // Open Inference Protocol.
  if (/^\/v2(\/|$)/.test(path)) return { error: line };
  // Text Embeddings Inference.
  if (path === '/predict' || path === '/info') return { error: line, error_type: teiType(status) };
  if (/^\/v1\/(models|completions|chat)(\/|$)/.test(path)) {
    return openaiError(problem);
  }
  // OpenDSR.
  if (path === '/discovery' || /^\/requests(\/|$)/.test(path)) {
    const errors = [{ domain: status < 500 ? 'request' : 'server', reason: code, message: line }];
    return { error: { code: status, message: line, errors } };
  }
  return { error: field === undefined ? { message, code } : { message, code, path: field } };
}

/** An error as OpenAI writes it, also in the middle of a stream. */
export function openaiError({ message, code, status, path }: Problem): object {
  const type = status < 500 ? 'invalid_request_error' : 'server_error';
  return { error: { message, type, param: path ?? null, code } };
}

function teiType(status: number): string {
  if (status === 429) return 'overloaded';
  if (status === 503) return 'unhealthy';
  return status < 500 ? 'validation' : 'backend';
}
