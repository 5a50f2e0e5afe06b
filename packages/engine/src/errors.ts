/** Anything the engine refuses or cannot do. The message is one line and names the operation or resource. */
export class EngineError extends Error {
  override name = 'EngineError';
}

/** Shapes or data types that do not fit an operation. The message names the operation, the shapes and the axis. */
export class ShapeError extends EngineError {
  override name = 'ShapeError';
}

/** No usable WebGPU adapter. The message says what to install. */
export class AdapterError extends EngineError {
  override name = 'AdapterError';
}
