/** Anything wrong with a model on disk or a request to it. The message is one line and names the file and the field. */
export class ModelError extends Error {
  override name = 'ModelError';
}
