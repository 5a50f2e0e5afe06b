import type { ImageDecoder } from './image.ts';

/** What a record is used for: to train on, or to measure with. */
export type Split = 'train' | 'eval';

/** An image as bytes: `pixels[(y * width + x) * channels + c]`, 0 to 255, row after row from the top left. Read-only by agreement: it may be a view of the data set. */
export interface DecodedImage {
  width: number;
  height: number;
  channels: 1 | 3;
  pixels: Uint8Array;
}

/** One example of a data set. */
export interface DataRecord {
  /** Unique within its data set. */
  id: string;
  /** The class by name, or null where the data set has no labels. */
  label: string | null;
  /** SHA-256, in hex, of the content (see {@link recordDigest}); the id is not part of it. */
  digest: string;
  /** Whom it is about, where that was asked for and there is somebody. No part of the content. */
  subject?: string;
  /** How likely it is to be erased, by its own word: the name of a class, where that was asked for and there is one. Part of the content. */
  risk?: string;
  /** The text fields that were asked for, by name. */
  text?: Record<string, string>;
  /**
   * Decodes the image; nothing is kept, so every call works anew.
   * @throws DataError if the file is gone, is not an image, or has changed since the record was loaded
   */
  image?: () => Promise<DecodedImage>;
}

/** The data section of s3t.config.json, less the sources themselves. Folders (IDX, CIFAR, images) use only `labels`. */
export interface DataOptions {
  /** Field that holds the id; left out, ids are `<split>/<row number>`. */
  id?: string | undefined;
  /** Field that holds whom the record is about; null or empty in a row means nobody. Tables only. */
  subject?: string | undefined;
  /** Field that holds how likely the record is to be erased, the name of a class; null or empty means none. Tables only. */
  risk?: string | undefined;
  /** Field that holds the label; left out, records have none. */
  label?: string | undefined;
  /** Fields that hold text. */
  text?: string[] | undefined;
  /** Field that holds the path of an image file, relative to the folder of the data file. */
  image?: string | undefined;
  /** What decodes image files. Default: `sharpDecoder`. */
  decoder?: ImageDecoder | undefined;
  /** All class names, in the order of the model's outputs. Any other label is an error. */
  labels?: string[] | undefined;
}
