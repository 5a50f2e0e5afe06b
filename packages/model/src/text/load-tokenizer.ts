import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readJson } from '../checkpoint/open-tensors.ts';
import { Tokenizer } from './tokenizer.ts';

/** Reads the tokenizer of a model folder. @throws ModelError naming the file that is missing or damaged */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const file = join(folder, 'tokenizer.json');
  const config = join(folder, 'tokenizer_config.json');
  const isThere = await stat(config).then(
    () => true,
    () => false,
  );
  return new Tokenizer(await readJson(file), isThere ? await readJson(config) : {}, file);
}
