import type { ContinueOptions, GenerationPiece, Input } from '@s3t/unlearner';
import type { NamedInput } from './input-files.ts';

/** What a prompt was continued with, and exactly what computed it. */
export interface Continuation {
  id: string;
  text: string;
  finish: 'stop' | 'length' | null;
  version: number;
  manifest: string;
}

/** What continues texts: a run, or the server that holds it. */
export interface TextSource {
  generate(
    input: Input,
    options: ContinueOptions,
  ): AsyncIterable<Pick<GenerationPiece, 'text' | 'finish' | 'version' | 'manifest'>>;
}

/**
 * Continues prompts, one after the other.
 * @param onText told each piece of text as it becomes certain, and of an empty last one where a prompt's text ends
 */
export async function continueAll(
  source: TextSource,
  prompts: readonly NamedInput[],
  options: ContinueOptions,
  onText: (piece: string, isLast: boolean) => void = () => {},
): Promise<Continuation[]> {
  const found: Continuation[] = [];
  for (const { id, input } of prompts) {
    let text = '';
    for await (const { text: piece, finish, version, manifest } of source.generate(input, options)) {
      text += piece;
      onText(piece, finish !== null);
      if (finish !== null) found.push({ id, text, finish, version, manifest });
    }
  }
  return found;
}
