import { stripVTControlCharacters, styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];
type Stream = NodeJS.WritableStream;

/** Colours a text for a stream: not where NO_COLOR is set or nobody looks (FORCE_COLOR overrides). */
export function paint(format: Format, text: string, stream: Stream = process.stdout): string {
  return styleText(format, text, { stream });
}

/** How many columns a text takes in a terminal. Our own texts hold no wide characters. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
