/** Just enough SVG: elements as strings. Coordinates are pixels, y downwards. */

type Attributes = Record<string, string | number | undefined>;

/** An element; attributes that are undefined are left out, `content` is put in as it is. */
export function element(name: string, attributes: Attributes, content = ''): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escapeXml(value!)}"`);
  return `<${name}${list.join('')}${content === '' ? '/>' : `>${content}</${name}>`}`;
}

export interface TextStyle {
  size?: number;
  color?: string;
  weight?: number;
  anchor?: 'start' | 'middle' | 'end';
}

/** A line of text; y is its base line. */
export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 13, color = '#1f2933', weight, anchor } = style;
  return element(
    'text',
    { x, y, 'font-size': size, fill: color, 'font-weight': weight, 'text-anchor': anchor },
    escapeXml(content),
  );
}

/**
 * Colours on white, and what they are on a dark page. Attributes give the first, so that whoever knows no style sheets, or makes a PNG of
 * it, has them; what covers them is chosen by element, because white on a coloured cell stays white.
 */
const DARK: readonly (readonly [
  selector: string,
  property: 'fill' | 'stroke',
  light: string,
  dark: string,
])[] = [
  ['rect', 'fill', '#ffffff', '#0d1117'],
  ['text', 'fill', '#1f2933', '#e6edf3'],
  ['text', 'fill', '#52606d', '#9aa7b4'],
  ['', 'stroke', '#52606d', '#9aa7b4'],
  ['', 'stroke', '#e4e7eb', '#2a313a'],
  ['', 'stroke', '#eef1f4', '#2a313a'],
  ...(
    [
      ['#2f7d5b', '#4cb388'],
      ['#c2502f', '#e8795a'],
      ['#2b6cb0', '#63a4e8'],
      ['#b7791f', '#e0a84a'],
      ['#6b46c1', '#a78bfa'],
    ] as const
  ).flatMap(
    ([light, dark]) =>
      [
        ['path', 'stroke', light, dark],
        ['circle', 'fill', light, dark],
      ] as const,
  ),
  ['circle', 'fill', '#52606d', '#9aa7b4'],
];

const DARK_STYLE = `@media (prefers-color-scheme: dark){${DARK.map(
  ([selector, property, light, dark]) => `${selector}[${property}="${light}"]{${property}:${dark}}`,
).join('')}}`;

/** A whole drawing on white, or on black where the reader's page is dark. */
export function drawing(width: number, height: number, title: string, content: readonly string[]): string {
  const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
      'font-family': font,
    },
    [
      '',
      element('title', {}, escapeXml(title)),
      element('style', {}, DARK_STYLE),
      element('rect', { width, height, fill: '#ffffff' }),
      ...content,
      '',
    ].join('\n'),
  );
}

const round = (value: number): string => String(Math.round(value * 100) / 100);

const escapeXml = (value: string): string =>
  value.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);
