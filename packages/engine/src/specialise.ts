import { EngineError } from './errors.ts';

export interface SpecialiseOptions {
  /** Expand the loops marked `// @unroll`. Default: leave them as loops. */
  unroll?: boolean;
}

/**
 * Sets the named constants and aliases of a WGSL module, and expands its marked loops.
 *
 * - `const TILE: u32 = 16u;` takes a number, a boolean, or a string (any WGSL expression).
 * - `alias Element = f32;` takes a string.
 * - `// @unroll` on a line of its own, before `for (var i = 0u; i < LIMIT; i++) {`, writes the body out LIMIT times, each in
 *   its own scope with the index as a literal, when `options.unroll` is on. LIMIT is made of integers, constants of the
 *   module, outer unrolled indices and `+ - * / %`.
 *
 * @example
 * specialise('demo', 'const N: u32 = 4u;', { N: 8 }) // 'const N: u32 = 8u;'
 * @throws EngineError naming the kernel and the constant when a name is unknown or a value does not fit its type, and
 *   the line when a marked loop cannot be expanded.
 */
export function specialise(
  name: string,
  source: string,
  values: Record<string, number | boolean | string>,
  options: SpecialiseOptions = {},
): string {
  let text = source;
  for (const [constant, value] of Object.entries(values)) text = setValue(name, text, constant, value);
  return options.unroll ? new Unroller(name, text).expand() : text;
}

function setValue(kernel: string, text: string, constant: string, value: number | boolean | string): string {
  const blank = blankComments(text);
  const declaration = new RegExp(
    `^[ \\t]*(?:const[ \\t]+${escapePattern(constant)}[ \\t]*(?::[ \\t]*([\\w<>, \\t]+?))?[ \\t]*=|alias[ \\t]+${escapePattern(constant)}[ \\t]*=)([^;]*);`,
    'm',
  );
  const match = declaration.exec(blank);
  if (!match) throw new EngineError(`kernel ${kernel} has no constant or alias named ${constant}`);
  const isAlias = match[0].trimStart().startsWith('alias');
  const initialiser = match[2]!;
  const literal = isAlias
    ? aliasTarget(kernel, constant, value)
    : constantLiteral(kernel, constant, value, match[1] ?? inferType(initialiser));
  const end = match.index + match[0].length - 1;
  return `${text.slice(0, end - initialiser.length)} ${literal}${text.slice(end)}`;
}

function aliasTarget(kernel: string, alias: string, value: number | boolean | string): string {
  if (typeof value === 'string') return value;
  throw new EngineError(`kernel ${kernel}: alias ${alias} takes the name of a type, not ${value}`);
}

function constantLiteral(
  kernel: string,
  constant: string,
  value: number | boolean | string,
  type: string | undefined,
): string {
  if (typeof value === 'string') return value;
  const misfit = (): EngineError =>
    new EngineError(`kernel ${kernel}: ${value} is no value for constant ${constant} of type ${type}`);
  if (typeof value === 'boolean') {
    if (type !== undefined && type !== 'bool') throw misfit();
    return String(value);
  }
  if (!Number.isFinite(value)) throw misfit();
  if (type === undefined) return String(value);
  if (type === 'f32') return `${value}f`;
  if (type === 'f16') return `${value}h`;
  if (!Number.isInteger(value)) throw misfit();
  if (type === 'u32' && value >= 0 && value < 2 ** 32) return `${value}u`;
  if (type === 'i32' && value >= -(2 ** 31) && value < 2 ** 31) return `${value}i`;
  throw misfit();
}

/** The type of a constant without a written one, where its initialiser is a literal. */
function inferType(initialiser: string): string | undefined {
  const literal = initialiser.trim();
  if (literal === 'true' || literal === 'false') return 'bool';
  if (/^\d+u$/.test(literal)) return 'u32';
  if (/^-?\d+i$/.test(literal)) return 'i32';
  if (/^-?[\d.]+(e[+-]?\d+)?f$/.test(literal)) return 'f32';
  return undefined;
}

const DIRECTIVE = /^[ \t]*\/\/[ \t]*@unroll[ \t]*$/m;
const HEADER =
  /^\s*for\s*\(\s*var\s+(\w+)\s*(?::\s*[ui]32\s*)?=\s*(\d+)([ui]?)\s*;\s*(\w+)\s*<\s*([^;]+?)\s*;\s*(\w+)\s*(?:\+\+|\+=\s*1[ui]?)\s*\)\s*\{/;
/** More copies than this are a mistake: compilers take minutes over them. */
const MAX_COPIES = 4096;

/** Writes out the marked loops of one module, outermost first, so that an inner limit may use an outer index. */
class Unroller {
  readonly #kernel: string;
  readonly #text: string;
  readonly #constants: Map<string, string> = new Map();

  constructor(kernel: string, text: string) {
    this.#kernel = kernel;
    this.#text = text;
    const declarations = blankComments(text).matchAll(/^[ \t]*const[ \t]+(\w+)[^=;]*=([^;]*);/gm);
    for (const [, name, initialiser] of declarations) this.#constants.set(name!, initialiser!);
  }

  expand(): string {
    return this.#expand(this.#text);
  }

  #expand(text: string): string {
    const directive = DIRECTIVE.exec(text);
    if (!directive) return text;
    const start = directive.index + directive[0].length;
    const rest = text.slice(start);
    const header = HEADER.exec(rest);
    if (!header) {
      const line = rest.trimStart().split('\n', 1)[0]!;
      throw this.#error(
        `@unroll must stand before \`for (var i = 0u; i < LIMIT; i++) {\`, not before \`${line}\``,
      );
    }
    const [, index, first, suffix, tested, limit, stepped] = header as unknown as string[];
    if (tested !== index || stepped !== index)
      throw this.#error(`@unroll: the loop over ${index} tests ${tested} and steps ${stepped}`);
    const bodyStart = header[0].length;
    const bodyEnd = closingBrace(rest, bodyStart);
    if (bodyEnd < 0) throw this.#error(`@unroll: the loop over ${index} has no closing brace`);
    const body = rest.slice(bodyStart, bodyEnd);
    if (/\b(?:break|continue)\b/.test(blankComments(body)))
      throw this.#error(`@unroll: the loop over ${index} has a break or continue`);
    const count = this.#evaluate(limit!, limit!);
    if (count - Number(first) > MAX_COPIES)
      throw this.#error(`@unroll: ${count} copies of the loop over ${index} are too many`);
    const use = new RegExp(`(?<![.\\w])${escapePattern(index!)}\\b`, 'g');
    let copies = '';
    for (let i = Number(first); i < count; i++) {
      copies += `\n{${this.#expand(body.replace(use, `${i}${suffix}`))}}`;
    }
    return text.slice(0, directive.index) + copies + this.#expand(rest.slice(bodyEnd + 1));
  }

  /** An integer expression over literals and constants of the module. */
  #evaluate(expression: string, whole: string, depth = 0): number {
    const tokens = expression.match(/\d+[ui]?|\w+|[-+*/%()]|\S/g) ?? [];
    let at = 0;
    const fail = (): EngineError =>
      this.#error(`@unroll: the limit \`${whole}\` is not made of integers and constants`);
    const atom = (): number => {
      const token = tokens[at++];
      if (token === undefined || depth > 16) throw fail();
      if (/^\d+[ui]?$/.test(token)) return Number.parseInt(token, 10);
      if (token === '(') {
        const value = sum();
        if (tokens[at++] !== ')') throw fail();
        return value;
      }
      const initialiser = this.#constants.get(token);
      if (initialiser === undefined) throw fail();
      return this.#evaluate(initialiser, whole, depth + 1);
    };
    const product = (): number => {
      let value = atom();
      while (['*', '/', '%'].includes(tokens[at]!)) {
        const operator = tokens[at++];
        const right = atom();
        if (operator !== '*' && right === 0) throw fail();
        value =
          operator === '*' ? value * right : operator === '/' ? Math.trunc(value / right) : value % right;
      }
      return value;
    };
    const sum = (): number => {
      let value = product();
      while (['+', '-'].includes(tokens[at]!)) value += tokens[at++] === '+' ? product() : -product();
      return value;
    };
    const value = sum();
    if (at !== tokens.length) throw fail();
    return value;
  }

  #error(message: string): EngineError {
    return new EngineError(`kernel ${this.#kernel}: ${message}`);
  }
}

/** Where the brace that was opened before `from` closes; -1 if it does not. */
function closingBrace(text: string, from: number): number {
  const blank = blankComments(text);
  let depth = 1;
  for (let i = from; i < blank.length; i++) {
    if (blank[i] === '{') depth++;
    else if (blank[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

/** The same text, same offsets, with comments overwritten by blanks. */
function blankComments(text: string): string {
  return text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '));
}

function escapePattern(word: string): string {
  return word.replace(/\W/g, '\\$&');
}
