/** Anything wrong with a model on disk or a request to it. The message is one line and names the file and the field. */
export class ModelError extends Error {
  override name = 'ModelError';
}

/** An option that does not go with the model. The message begins with its name in the configuration: "data.maxLength: ...". */
export class OptionError extends ModelError {
  override name = 'OptionError';
}
