/** An experiment that cannot be: what was asked for, why not, and the nearest that can be. */
export class LaboratoryError extends Error {
  override name = 'LaboratoryError';
  readonly code: 'usage' | 'data';

  constructor(code: 'usage' | 'data', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
