import type { Rules } from './normalizers.ts';

/** Numbers of tokens, and in which text of a pair each lies. */
export interface Tokens {
  ids: number[];
  typeIds: number[];
}

/** Puts special tokens round texts, where they are wanted. */
type Process = (texts: Tokens[], hasSpecial: boolean) => Tokens[];

/** What is read of a text, or of two: without rules the texts one after the other. */
export type PostProcess = (first: number[], second: number[] | null, hasSpecial: boolean) => Tokens;

/** @throws when a rule is of an unknown type or lacks a token that it names */
export function createPostProcessor(rules: Rules | null | undefined): PostProcess {
  const process = processor(rules);
  return (first, second, hasSpecial) => {
    const texts = (second ? [first, second] : [first]).map((ids, type) => of(ids, type));
    const parts = process(texts, hasSpecial);
    return { ids: parts.flatMap(({ ids }) => ids), typeIds: parts.flatMap(({ typeIds }) => typeIds) };
  };
}

function processor(rules: Rules | null | undefined): Process {
  // ByteLevel is about the places of tokens alone.
  if (!rules || rules.type === 'ByteLevel') return (texts) => texts;
  if (rules.type === 'Sequence') {
    const steps = ((rules.processors ?? []) as Rules[]).map(processor);
    return (texts, hasSpecial) => steps.reduce((before, step) => step(before, hasSpecial), texts);
  }
  if (rules.type === 'TemplateProcessing') return template(rules);
  if (rules.type === 'BertProcessing') {
    const [begin, end] = [idIn(rules, 'cls'), idIn(rules, 'sep')];
    return (texts, hasSpecial) =>
      hasSpecial
        ? texts.map(({ ids }, i) => (i === 0 ? of([begin, ...ids, end], 0) : of([...ids, end], 1)))
        : texts;
  }
  if (rules.type === 'RobertaProcessing') {
    const [begin, end] = [idIn(rules, 'cls'), idIn(rules, 'sep')];
    // A RoBERTa knows one type of token only.
    return (texts, hasSpecial) =>
      texts.map(({ ids }, i) => of(hasSpecial ? [i === 0 ? begin : end, ...ids, end] : ids, 0));
  }
  throw new Error(`unknown post_processor type ${JSON.stringify(rules.type)}`);
}

interface Part {
  SpecialToken?: { id: string; type_id: number };
  Sequence?: { id: 'A' | 'B'; type_id: number };
}

function template({ single, pair, special_tokens }: Rules): Process {
  const special = (special_tokens ?? {}) as Record<string, { ids: number[] }>;
  const compile = (parts: unknown) => {
    if (!Array.isArray(parts)) throw new Error('a template of the post_processor is missing');
    return (parts as Part[]).map(({ SpecialToken: token, Sequence: text }) => {
      if (text) return (texts: Tokens[]) => of(texts[text.id === 'A' ? 0 : 1]?.ids ?? [], text.type_id);
      const ids = token && Object.hasOwn(special, token.id) ? special[token.id]?.ids : undefined;
      if (!token || !Array.isArray(ids))
        throw new Error(`special_tokens of the post_processor lacks ${JSON.stringify(token?.id)}`);
      return (_: Tokens[], hasSpecial: boolean) => of(hasSpecial ? ids : [], token.type_id);
    });
  };
  const [one, two] = [compile(single), compile(pair)];
  return (texts, hasSpecial) => (texts.length === 1 ? one : two).map((part) => part(texts, hasSpecial));
}

function of(ids: number[], type: number): Tokens {
  return { ids, typeIds: new Array<number>(ids.length).fill(type) };
}

/** The number of a token that is given as text and number. */
function idIn(rules: Rules, field: string): number {
  const id = (rules[field] as unknown[] | undefined)?.[1];
  if (!Number.isSafeInteger(id)) throw new Error(`post_processor.${field} has no number`);
  return id as number;
}
