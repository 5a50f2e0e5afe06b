export { type RecordContent, recordDigest } from './digest.ts';
export { DataError, type DataPlace } from './errors.ts';
export { type IdxData, writeIdx } from './idx-folder.ts';
export { decodeImage, type ImageDecoder, sharpDecoder } from './image.ts';
export { loadRecords, readRows } from './load.ts';
export { type MnistDigit, mnistDigits } from './mnist.ts';
export type { DataOptions, DataRecord, DecodedImage, Split } from './record.ts';
export type { Row } from './rows.ts';
